"""From face images to embeddings: the one path of verification, prototypes and training-time checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise, resize
from btnet.images.interpolation import check_interpolation

__all__ = ["Embed", "embed_images"]

Embed = Callable[..., NDArray[np.float32]]
"""A function with the arguments of `embed_images`."""


def embed_images(
    network: Backbone,
    images: NDArray[np.uint8],
    *,
    view_size: int | None = None,
    interpolation: str = "bilinear",
    batch_size: int = 32,
    mirror: bool = True,
    channels_last: bool = True,
) -> NDArray[np.float32]:
    """Embed faces, shown to the network at a chosen resolution.

    A view is the face shrunk to `view_size`. A network of that input size takes it natively; any other (the
    trunk, phi_hr) is fed the view resized to its own input size, by the same interpolation. Both steps round
    to grey levels: a view is an image.

    Args:
        network: computes on the device and in the dtype it is in; its mode is restored afterwards.
        images: uint8 RGB [N, H, W, 3]; N may be smaller than a batch, or 0.
        view_size: resolution of the faces in px; None for the images as they are.
        interpolation: one of `btnet.data.INTERPOLATIONS`.
        batch_size: images per forward pass. On a CPU large batches are slower: memory bounds them.
        mirror: add the embedding of the mirror image (the field's protocol).
        channels_last: memory layout of the batches; faster on a CPU by a third or more.

    Returns:
        float32 [N, D], not normalised.

    Raises:
        ValueError: if the images are not uint8 RGB, or the interpolation or a size is not known.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(
            f"images are {images.dtype} of shape {list(images.shape)}, expected uint8 RGB [N, H, W, 3]"
        )
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size}: expected at least 1")
    check_interpolation(interpolation)
    parameter = next(network.parameters())
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    embeddings = np.empty((len(images), network.embedding_size), np.float32)
    with torch.inference_mode(), _in_eval_mode(network):
        for start in range(0, len(images), batch_size):
            # Copied only where torch cannot share the memory: a file mapped read-only.
            batch = np.require(images[start : start + batch_size], requirements=["C", "W"])
            views = torch.from_numpy(batch).to(parameter.device).permute(0, 3, 1, 2)
            if view_size is not None:
                views = resize(views, view_size, interpolation)
            views = resize(views, network.input_size, interpolation)
            x = normalise(views, parameter.dtype).contiguous(memory_format=memory_format)
            embedding: Tensor = network(x)
            if mirror:
                embedding = embedding + network(x.flip(-1))
            embeddings[start : start + batch_size] = embedding.to("cpu", torch.float32).numpy()
    return embeddings


@contextmanager
def _in_eval_mode(network: nn.Module) -> Iterator[None]:
    # Module by module: a network in train mode may hold parts that stay in eval mode.
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
