"""Embeddings kept on disk: a network that has seen a set of images before is not run on it again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.files.atomic import replacing
from btnet.serving.embedding import embed_images

__all__ = ["EmbeddingStore"]


class EmbeddingStore:
    """Stands for `embed_images`, and remembers.

    An answer is found by all that decides it: weights and input size of the network, pixels, view and
    interpolation, whether mirror images are added. Two models that share a trunk share its answers, which is also
    what "the gallery stays" means.

    Args:
        folder: of the files, one per answer; created when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        network: Backbone,
        images: NDArray[np.uint8],
        *,
        view_size: int | None = None,
        interpolation: str = "bilinear",
        batch_size: int = 32,
        mirror: bool = True,
    ) -> NDArray[np.float32]:
        """As `embed_images`, with its errors."""
        digest = hashlib.sha256(fingerprint(network.state_dict()).encode())
        sizes = f"{network.input_size} {network.inner_size} {view_size}"
        digest.update(f"{sizes} {interpolation} {mirror} {images.shape}".encode())
        digest.update(np.ascontiguousarray(images).data)
        path = self.folder / f"{digest.hexdigest()}.npy"
        if path.is_file():
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        found = embed_images(
            network,
            images,
            view_size=view_size,
            interpolation=interpolation,
            batch_size=batch_size,
            mirror=mirror,
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
        return found
