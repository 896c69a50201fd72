"""A few faces of any set, for calibration: statistics, ranges."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from btnet.data.aligned import CANONICAL_SIZE, need_aligned
from btnet.data.bin_sets import read_bin
from btnet.data.faces import open_faces
from btnet.images.resize import resize

__all__ = ["sample_faces"]


def sample_faces(
    spec: str | os.PathLike[str],
    num_faces: int,
    *,
    size: int,
    canonical_size: int = CANONICAL_SIZE,
    interpolation: str = "bilinear",
) -> NDArray[np.uint8]:
    """Draw faces without replacement, always the same.

    Args:
        spec: a `.bin` verification set, or what `open_faces` takes (`.rec`, folder, `synthetic:...`).
        num_faces: at most; fewer if the set has fewer.
        size: in px they are resized to.
        canonical_size: which they have, beside 112 px (`need_aligned`).
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        uint8 RGB [N, size, size, 3].

    Raises:
        ValueError, FileNotFoundError: as `read_bin` and `open_faces`, for fewer than one face, or one not aligned.
    """
    if num_faces < 1:
        raise ValueError(f"{num_faces} faces: expected at least 1")
    generator = np.random.default_rng(0)
    if os.fspath(spec).endswith(".bin"):
        images = read_bin(spec, size=canonical_size)[0]
        chosen = [images[i] for i in generator.permutation(len(images))[:num_faces]]
    else:
        faces = open_faces(spec)
        drawn = generator.permutation(len(faces))[:num_faces]
        chosen = [need_aligned(faces[int(i)][0], faces.describe(int(i)), canonical_size) for i in drawn]
    return np.stack([resize(image, size, interpolation) for image in chosen])
