"""BatchNorms that were merged away, put back: statistics from faces, weights that undo them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.serving.embedding import embed_images

__all__ = ["restore_norms"]


def restore_norms(
    network: Backbone, names: Sequence[str], faces: NDArray[np.uint8], *, batch_size: int = 32
) -> None:
    """Give BatchNorms the statistics of their inputs without changing what they compute in eval mode.

    A BatchNorm that computes a x + b gets mean m and variance v of its input x as running statistics, weight
    a sqrt(v + eps) and bias b + a m: in eval mode a x + b as before, in train mode the same with the batch's
    statistics. Where the network was trained that is what had been merged away, up to the sign and scale
    that went into the convolution. In an identity BatchNorm the batch's scale would be lost.

    Args:
        network: changed in place.
        names: of its BatchNorms.
        faces: uint8 RGB [N, S, S, 3], at least 2, of the network's size.
        batch_size: images per forward pass; does not matter to the result.

    Raises:
        ValueError: if the faces are not of the network's size.
    """
    size = network.input_size
    if len(faces) < 2 or faces.shape[1:3] != (size, size):
        raise ValueError(
            f"faces of shape {list(faces.shape)}: expected at least 2 of {size} x {size} px, aligned as the "
            "network expects"
        )
    moments = {network.get_submodule(name): _Moments() for name in names}
    hooks = [norm.register_forward_pre_hook(seen) for norm, seen in moments.items()]
    try:
        embed_images(network, faces, batch_size=batch_size, mirror=False)
    finally:
        for hook in hooks:
            hook.remove()
    with torch.no_grad():
        for norm, seen in moments.items():
            _compensate(norm, seen)


class _Moments:
    """Mean and variance per channel over batches, in float64 (Chan et al.: pairwise update)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = torch.zeros(())

    def __call__(self, _norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        """Count a batch, [N, C] or [N, C, H, W]."""
        values = args[0].detach().transpose(0, 1).flatten(1).double()
        count, mean = values.shape[1], values.mean(1)
        delta, total = mean - self.mean, self.count + count
        spread = (values - mean[:, None]).square().sum(1)
        self.squares = self.squares + spread + delta.square() * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total


def _compensate(norm: Any, seen: _Moments) -> None:
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    norm.running_mean.copy_(seen.mean)
    norm.running_var.copy_(seen.squares / max(seen.count - 1, 1))  # unbiased, as torch keeps it
    # from the statistics as stored, in float32
    norm.weight.copy_(scale * (norm.running_var.double() + norm.eps).sqrt())
    norm.bias.copy_(shift + scale * norm.running_mean.double())
