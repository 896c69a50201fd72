"""What an aligned face is: the one rule of packing, training, verification and analysis.

Only the size shows from an image. One of another size was cut by other rules (a frame, LFW's 250 x 250, a detector's
box), and a network that was trained on aligned faces answers wrongly on it without a word. Native crops, of any size
and shape, take another path: the recogniser's, or training on a set that is declared `native_crops`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CANONICAL_SIZE", "need_aligned"]

CANONICAL_SIZE: Final = 112
"""Px of an aligned face, as the field cuts and stores it."""


def need_aligned(image: NDArray[np.uint8], where: str, size: int = CANONICAL_SIZE) -> NDArray[np.uint8]:
    """The image itself, if it can be an aligned face.

    Args:
        image: uint8 RGB [H, W, 3].
        where: where it comes from, for the error text.
        size: canonical size of the network in px, taken beside `CANONICAL_SIZE`.

    Raises:
        ValueError: if it has another size, or is not square.
    """
    height, width = image.shape[:2]
    if height != width or height not in (size, CANONICAL_SIZE):
        raise ValueError(
            f"{where} is {width} x {height} px, expected an aligned face of {size} x {size}; align it, or resize "
            f"aligned squares with `btnet make-rec --size {size}` (or make-bin)"
        )
    return image
