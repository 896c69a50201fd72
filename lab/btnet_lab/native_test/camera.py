"""A branch's BatchNorm statistics re-estimated on faces of one camera, without labels; weights do not change.

A camera's light, colour, noise and blur move the means and variances inside the network. They can be measured on
faces of the camera without knowing whose they are (AIRD, arXiv 2409.02049, adapts a low-resolution network at test time
in this way). The trunk and every gallery stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise
from btnet.method.btnet import BTNet

LEAST_FACES: Final = 16
"""Fewer are refused: the variances would be those of a few people."""
ENOUGH_FACES: Final = 256
"""From here on more faces change little; with fewer the result is uncertain."""


def adapted_statistics(
    model: BTNet, resolution: int, faces: NDArray[np.uint8], *, prior: float = 0.0, batch_size: int = 128
) -> dict[str, Tensor]:
    """Re-estimate the statistics of a branch from a camera's faces; the model stays as it is.

    Args:
        model: with this branch, in its own statistics.
        resolution: r, of the branch.
        faces: of anybody, as the branch sees them, uint8 RGB [N, r, r, 3].
        prior: the branch's own statistics count as those of so many faces (Schneider et al., NeurIPS 2020).
        batch_size: faces that are normalised together while measuring.

    Returns:
        Running means and variances by state key, float32 on the CPU: a part of `model.bn_set(resolution)`.

    Raises:
        ValueError: for fewer than `LEAST_FACES` faces, a negative prior, or a size without branch.
    """
    if len(faces) < LEAST_FACES or prior < 0:
        raise ValueError(
            f"{len(faces)} faces for {resolution} px and prior {prior:g}: expected at least {LEAST_FACES} faces "
            f"({ENOUGH_FACES} to be sure) and a prior of 0 or more; collect more of this camera"
        )
    if resolution not in model.resolutions:
        raise ValueError(
            f"no branch for {resolution} px to adapt, only for {list(model.resolutions)}; the trunk must not change"
        )
    measured = measured_statistics(model.detached(resolution), faces, batch_size=batch_size)
    own, share = model.bn_set(resolution), len(faces) / (len(faces) + prior)
    return {key: (share * new + (1 - share) * own[key].cpu()).float() for key, new in measured.items()}


def measured_statistics(
    network: Backbone, faces: NDArray[np.uint8], *, batch_size: int = 128
) -> dict[str, Tensor]:
    """Mean and variance (unbiased) before every BatchNorm, of all faces together.

    What reaches a layer is normalised by its own batch meanwhile, as in training: so the layers before have the new
    statistics already. Batches are of nearly equal size.

    Args:
        network: is not changed.
        faces: uint8 RGB [N, r, r, 3].
        batch_size: at most.

    Returns:
        By state key, "*.running_mean" and "*.running_var", float32 on the CPU.
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    sums = {name: torch.zeros(2, norm.num_features, dtype=torch.float64) for name, norm in norms.items()}
    counts = dict.fromkeys(norms, 0)

    def watch(name: str, x: Tensor) -> None:
        values = x.detach().to("cpu", torch.float64).transpose(0, 1).flatten(1)
        sums[name] += torch.stack([values.sum(dim=1), values.square().sum(dim=1)])
        counts[name] += values.shape[1]

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: watch(name, inputs[0]))
        for name, norm in norms.items()
    ]
    parameter = next(network.parameters())
    try:
        with torch.inference_mode(), _normalising_by_batch(network, norms):
            for batch in np.array_split(faces, -(-len(faces) // batch_size)):
                views = torch.from_numpy(np.require(batch, requirements=["C", "W"])).permute(0, 3, 1, 2)
                network(normalise(views.to(parameter.device), parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, Tensor] = {}
    for name, (total, squares) in sums.items():
        mean = total / counts[name]
        variance = (squares - counts[name] * mean.square()) / (counts[name] - 1)
        found |= {f"{name}.running_mean": mean.float(), f"{name}.running_var": variance.clamp(min=0).float()}
    return found


@contextmanager
def _normalising_by_batch(network: nn.Module, norms: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """BatchNorms in train mode without moving their statistics; all else in eval mode, dropout included."""
    modes = {module: module.training for module in network.modules()}
    kept = {name: (norm.momentum, norm.num_batches_tracked) for name, norm in norms.items()}
    network.eval()
    for norm in norms.values():
        norm.train()
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for name, norm in norms.items():
            norm.momentum, norm.num_batches_tracked = kept[name]
        for module, mode in modes.items():
            module.training = mode
