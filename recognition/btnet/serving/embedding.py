"""From face images to embeddings through one network: the path that verification, serving and training share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.data.views import normalise, resize
from btnet.images.interpolation import check_interpolation
from btnet.serving.crops import fit_crops

__all__ = ["Embed", "Network", "OnnxNetwork", "embed_images", "network_fingerprint"]

Embed = Callable[..., NDArray[np.float32]]
"""A function with the arguments of `embed_images`."""


class OnnxNetwork(nn.Module):
    """A file of `btnet export-onnx`, called as the network that it was exported from.

    Args:
        path: for messages.
        session: onnxruntime's, that takes "data" float32 [B, 3, r, r].
        input_size: r, in px.
        embedding_size: D.
        fingerprint: of the network it was exported from.
    """

    def __init__(
        self, path: str, session: Any, input_size: int, embedding_size: int, fingerprint: str
    ) -> None:
        super().__init__()
        self.path, self.session, self.fingerprint = path, session, fingerprint
        self.input_size, self.embedding_size = input_size, embedding_size

    def forward(self, x: Tensor) -> Tensor:
        """Embed faces: [B, 3, r, r] in [-1, 1] -> [B, D], on the CPU.

        Raises:
            ValueError: if onnxruntime cannot run the file, or it gives something else.
        """
        try:
            [embeddings] = self.session.run(None, {"data": np.ascontiguousarray(x.numpy())})
        except Exception as error:  # onnxruntime's errors have no other base
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{self.path}: does not run ({reason}); export it again") from error
        if embeddings.shape != (len(x), self.embedding_size):
            raise ValueError(
                f"{self.path}: gives {list(embeddings.shape)} for {len(x)} faces, expected "
                f"[{len(x)}, {self.embedding_size}]; export it again"
            )
        return torch.from_numpy(np.asarray(embeddings, np.float32))


Network: TypeAlias = Backbone | OnnxNetwork


def network_fingerprint(network: Network) -> str:
    """Of the network's weights; the same for a network and its exported file."""
    if isinstance(network, OnnxNetwork):
        return network.fingerprint
    return fingerprint(network.state_dict())


def embed_images(
    network: Network,
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    *,
    view_size: int | None = None,
    interpolation: str = "bilinear",
    batch_size: int = 32,
    mirror: bool = False,
    channels_last: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Embed faces, shown to the network at a chosen resolution.

    A view is the face resized to `view_size`. A network of that input size takes it natively; any other (the
    trunk, phi_hr) is fed the view resized to its own input size, by the same interpolation. Both steps round
    to grey levels: a view is an image.

    Args:
        network: computes on the device and in the dtype it is in; its mode is restored afterwards.
        images: uint8 RGB, a stack [N, H, W, 3] or a list of [H, W, 3] of any sizes; N may be smaller than a batch, or
            0. What is not square is stretched (see `fit_crops`).
        view_size: resolution of the faces in px; None for the images as they are.
        interpolation: one of `btnet.data.INTERPOLATIONS`.
        batch_size: images per forward pass. On a CPU large batches are slower: memory bounds them.
        mirror: add the embedding of the mirror image, as benchmarks do.
        channels_last: memory layout of the batches; faster on a CPU by a third or more.
        progress: called with the number of images embedded, after each batch.

    Returns:
        float32 [N, D], not normalised.

    Raises:
        ValueError: if the images are not uint8 RGB, or the interpolation or a size is not known.
    """
    if isinstance(images, np.ndarray) and (
        images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3
    ):
        raise ValueError(
            f"images are {images.dtype} of shape {list(images.shape)}, expected uint8 RGB [N, H, W, 3]"
        )
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size}: expected at least 1")
    check_interpolation(interpolation)
    parameter = next(network.parameters(), torch.empty(0))
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    embeddings = np.empty((len(images), network.embedding_size), np.float32)
    with torch.inference_mode(), _in_eval_mode(network):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            if not isinstance(batch, np.ndarray):
                batch = fit_crops(batch, view_size or network.input_size, interpolation)
            # Copied only where torch cannot share the memory: a file mapped read-only.
            views = torch.from_numpy(np.require(batch, requirements=["C", "W"])).to(parameter.device)
            views = views.permute(0, 3, 1, 2)
            if view_size is not None:
                views = resize(views, view_size, interpolation)
            views = resize(views, network.input_size, interpolation)
            x = normalise(views, parameter.dtype).contiguous(memory_format=memory_format)
            embedding: Tensor = network(x)
            if mirror:
                embedding = embedding + network(x.flip(-1))
            embeddings[start : start + batch_size] = embedding.to("cpu", torch.float32).numpy()
            progress(len(batch))
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
