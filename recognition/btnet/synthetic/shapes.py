"""Outlines and colours the renderer draws with; coordinates are px of the 112 px template."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.synthetic.draws import Colour

Points = NDArray[np.float64]

CENTRE_X: Final = 56.0
"""Axis of symmetry of a frontal face."""

SIDES: Final = (-1, 1)

ALONG: Final = np.linspace(-1, 1, 13)
"""Along a feature from its one end (-1) to the other (1)."""
BULGE: Final = 1 - np.abs(ALONG) ** 2.2

_PER_SPAN = 4  # points of a curve from one control to the next


@cache
def _spline_basis(num_controls: int, closed: bool) -> Points:
    num_spans = num_controls if closed else num_controls - 1
    basis = np.zeros((num_spans * _PER_SPAN + (not closed), num_controls))
    for row in range(len(basis)):
        span, step = divmod(row, _PER_SPAN)
        if span == num_spans:
            basis[row, -1] = 1
            continue
        t = step / _PER_SPAN
        weights = (
            (-t + 2 * t**2 - t**3) / 2,
            (2 - 5 * t**2 + 3 * t**3) / 2,
            (t + 4 * t**2 - 3 * t**3) / 2,
            (t**3 - t**2) / 2,
        )
        for offset, weight in zip((-1, 0, 1, 2), weights, strict=True):
            control = span + offset
            control = control % num_controls if closed else min(max(control, 0), num_controls - 1)
            basis[row, control] += weight
    return basis


def curve(controls: Sequence[tuple[float, float]], *, closed: bool = False) -> Points:
    """Smooth (Catmull-Rom) line through the control points, [N, 2]."""
    points: Points = _spline_basis(len(controls), closed) @ np.array(controls)
    return points


def ellipse(x: float, y: float, radius_x: float, radius_y: float, *, squareness: float = 2.0) -> Points:
    """Outline of an ellipse, or of a rounded box for a larger squareness, [24, 2]."""
    unit = _CIRCLE
    if squareness != 2:
        unit = np.sign(unit) * np.abs(unit) ** (2 / squareness)
    return unit * (radius_x, radius_y) + (x, y)


def line(x: Points, y: Points) -> Points:
    """Points [N, 2] from their coordinates."""
    points = np.empty((len(x), 2))
    points[:, 0], points[:, 1] = x, y
    return points


_ANGLES = np.arange(24) * (np.pi / 12)
_CIRCLE = line(np.cos(_ANGLES), np.sin(_ANGLES))


def mirrored(controls: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Closed outline from the right half (offset from the middle, y), first and last on the middle."""
    right = [(CENTRE_X + x, y) for x, y in controls]
    left = [(CENTRE_X - x, y) for x, y in controls[-2:0:-1]]
    return right + left


def band(x: Points, top: Points, bottom: Points) -> Points:
    """Polygon between two lines over the same x."""
    return np.concatenate([line(x, top), line(x, bottom)[::-1]])


def tone(colour: Colour, gain: float) -> Colour:
    """A colour made lighter or darker."""
    return (colour[0] * gain, colour[1] * gain, colour[2] * gain)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Between two colours; share 0 is the first."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return (red, green, blue)
