"""Faces for an analysis: some images of a set, at the canonical size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from btnet.data.faces import FaceSet, open_faces
from btnet.data.pairs import stack_faces
from btnet.images.resize import resize


def sample_faces(spec: str, num_images: int, size: int = 112) -> NDArray[np.uint8]:
    """Read images evenly spaced over a set, so that many people are among them.

    Args:
        spec: a .rec file, a folder of identity folders, or `synthetic:IDS:PER_ID[:SEED]`.
        num_images: N.
        size: canonical size in px.

    Returns:
        uint8 RGB [N, size, size, 3].
    """
    faces = open_faces(spec)
    if not 1 <= num_images <= len(faces):
        raise ValueError(
            f"{spec}: {num_images} images asked for, expected 1 to {len(faces)}: the set has no more"
        )
    return _read(faces, evenly_spaced(num_images, len(faces)), size)


def read_face(spec: str, index: int, size: int = 112) -> NDArray[np.uint8]:
    """Read one image of a set, uint8 RGB [size, size, 3]; raises as `sample_faces`."""
    faces = open_faces(spec)
    if not 0 <= index < len(faces):
        raise ValueError(f"{spec}: no image {index}, the set has {len(faces)}; they count from 0")
    return np.asarray(_read(faces, np.array([index]), size)[0])


def evenly_spaced(count: int, total: int) -> NDArray[np.int64]:
    """Positions of `count` of `total` images; `count` is at most `total`."""
    return np.asarray(np.arange(count) * total // count)


def _read(faces: FaceSet, positions: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    return np.stack([resize(image, size, "area") for image in stack_faces(faces, positions, size)])
