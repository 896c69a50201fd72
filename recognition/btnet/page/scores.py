"""What the page shows: a face against a shrunk one, through the branch and through the up-sampled trunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.images.resize import resize
from btnet.serving.crops import fit_crops
from btnet.serving.gallery import unit
from btnet.serving.recognizer import Recognizer

__all__ = ["compare_at"]


def compare_at(
    recognizer: Recognizer, gallery: NDArray[np.uint8], probe: NDArray[np.uint8], sizes: list[int]
) -> list[dict[str, Any]]:
    """Score one pair with the probe shrunk to several sizes.

    Args:
        recognizer: with trunk and branches.
        gallery: uint8 RGB [S, S, 3], S the canonical size.
        probe: likewise; shrunk by the model's interpolation.
        sizes: in px, 4 to S.

    Returns:
        For each size: `size`, `resolution` of the network chosen, cosine by `branch` (the native path), and by
        `trunk` (the shrunk face enlarged to S).

    Raises:
        ValueError: for a size out of range.
    """
    backend = recognizer.backend
    canonical = backend.canonical_size
    if not sizes or not all(4 <= size <= canonical for size in sizes):
        raise ValueError(f"sizes {sizes}: expected 4 to {canonical} px")
    small = [resize(probe, size, backend.interpolation) for size in sizes]
    branch = unit(recognizer.embed([gallery, *small]))
    trunk = unit(backend.run(canonical, fit_crops(small, canonical, backend.interpolation), mirror=False))
    return [
        {
            "size": size,
            "resolution": recognizer.resolution_of(size, size),
            "branch": round(float(branch[1 + row] @ branch[0]), 4),
            "trunk": round(float(trunk[row] @ branch[0]), 4),
        }
        for row, size in enumerate(sizes)
    ]
