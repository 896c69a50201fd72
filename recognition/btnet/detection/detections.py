"""What a detector gives, and the protocol that every detector follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Detections", "Detector", "Find"]


class Detections(NamedTuple):
    """Faces found in one image, the best score first. All float32, in px of the image; pixel centres are whole numbers.

    Attributes:
        boxes: [N, 4] as x1, y1, x2, y2.
        points: [N, 5, 2] as (x, y): left eye in the image, right eye, nose tip, left and right corner of the mouth.
        scores: [N], 0 to 1.
    """

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    scores: NDArray[np.float32]


class Detector(Protocol):
    """Whatever finds faces and their five landmarks."""

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find faces in one image, uint8 RGB [H, W, 3] of any size."""
        ...


Find: TypeAlias = Callable[[NDArray[np.uint8]], Detections]
"""From uint8 RGB [H, W, 3], sides multiples of 32, to all that a network finds: in any order, overlapping."""
