"""Faces for an analysis: some images of a set, spread over it, at the canonical size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from btnet.data.aligned import need_aligned
from btnet.data.faces import FaceSet, open_faces
from btnet.images.resize import resize

__all__ = ["read_face", "sample_faces"]


def sample_faces(spec: str, num_images: int, size: int = 112) -> NDArray[np.uint8]:
    """Read images at even distances over a set, so that many people are among them.

    Args:
        spec: a .rec file, a folder of identity folders, or `synthetic:IDS:PER_ID[:SEED]`.
        num_images: N.
        size: canonical size in px.

    Returns:
        uint8 RGB [N, size, size, 3].

    Raises:
        ValueError: if the set has fewer images, or one is not aligned.
        FileNotFoundError: if nothing lies there.
    """
    faces = open_faces(spec)
    if not 1 <= num_images <= len(faces):
        raise ValueError(
            f"{spec}: {num_images} images asked for, expected 1 to {len(faces)}: the set has no more"
        )
    positions = np.arange(num_images) * len(faces) // num_images
    return np.stack([_face(faces, int(position), size) for position in positions])


def read_face(spec: str, index: int, size: int = 112) -> NDArray[np.uint8]:
    """Read one image of a set, uint8 RGB [size, size, 3]; see `sample_faces`.

    Raises:
        ValueError: if the set has no such image, or it is not aligned.
        FileNotFoundError: if nothing lies there.
    """
    faces = open_faces(spec)
    if not 0 <= index < len(faces):
        raise ValueError(f"{spec}: no image {index}, the set has {len(faces)}; they count from 0")
    return _face(faces, index, size)


def _face(faces: FaceSet, index: int, size: int) -> NDArray[np.uint8]:
    return resize(need_aligned(faces[index][0], faces.describe(index), size), size, "area")
