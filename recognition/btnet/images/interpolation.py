"""The named interpolations: which source pixels make an output pixel, and with what weights.

`bilinear`, `bicubic` and `area` are OpenCV's INTER_LINEAR, INTER_CUBIC (a = -0.75) and INTER_AREA; the first
two look at 2 and 4 pixels whatever the ratio (no antialias), which is how the authors' code shrinks faces.
`bilinear_aa` and `bicubic_aa` (a = -0.5) are Pillow's, whose kernels widen when they shrink.
"""

import difflib
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

INTERPOLATIONS: Final = ("bilinear", "bicubic", "area", "bilinear_aa", "bicubic_aa")

Taps = list[tuple[int, float]]
"""Source index and weight of the pixels that make one output pixel; indices may lie outside the source."""


def check_interpolation(name: str) -> str:
    """The name itself; ValueError if it is not one of `INTERPOLATIONS`, listing these with the nearest first."""
    if name in INTERPOLATIONS:
        return name
    nearest = sorted(INTERPOLATIONS, key=lambda known: -difflib.SequenceMatcher(None, name, known).ratio())
    raise ValueError(f"interpolation {name!r} is unknown; choose one of {', '.join(nearest)}")


@lru_cache(maxsize=1024)
def quantised_taps(
    source: int, target: int, interpolation: str, enlarging: bool, bits: int
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[float, ...], ...]]:
    """Taps of one axis, as columns of equal length with weights that are multiples of 2 ** -bits.

    The running sum of the weights is rounded, not each weight: an output pixel's weights then sum to exactly
    1 (a flat image stays flat) and neighbouring errors cancel instead of adding up.

    Args:
        source: size of the axis in px.
        target: size wanted in px.
        interpolation: one of `INTERPOLATIONS`.
        enlarging: whether either axis of the image grows (OpenCV's INTER_AREA then interpolates on both).
        bits: precision of the weights.

    Returns:
        Indices and weights, each [num_taps][target]. Short rows are padded with weight 0.
    """
    rows = [_taps_of(i, source, target, interpolation, enlarging) for i in range(target)]
    num_taps = max(len(row) for row in rows)
    one = 1 << bits
    indices: list[list[int]] = []
    weights: list[list[float]] = []
    for row in rows:
        running, before = 0.0, 0
        row_indices, row_weights = [], []
        for index, weight in row:
            running += weight
            after = round(running * one)
            # Beyond the edge lies the edge pixel again.
            row_indices.append(min(max(index, 0), source - 1))
            row_weights.append((after - before) / one)
            before = after
        padding = num_taps - len(row)
        indices.append(row_indices + row_indices[-1:] * padding)
        weights.append(row_weights + [0.0] * padding)
    return tuple(zip(*indices, strict=True)), tuple(zip(*weights, strict=True))


def _taps_of(i: int, source: int, target: int, interpolation: str, enlarging: bool) -> Taps:
    if interpolation == "bilinear":
        return _linear(i, source, target)
    if interpolation == "bicubic":
        return _cubic(i, source, target)
    if interpolation == "area":
        return _area_enlarging(i, source, target) if enlarging else _area(i, source, target)
    if interpolation == "bilinear_aa":
        return _antialiased(i, source, target, _triangle, radius=1.0)
    return _antialiased(i, source, target, _cubic_kernel_pillow, radius=2.0)


def _position(i: int, source: int, target: int) -> tuple[int, float]:
    # The centre of output pixel i in source coordinates, split into whole and fraction without rounding
    # error: i' = (i + 1/2) * source / target - 1/2.
    whole, rest = divmod((2 * i + 1) * source - target, 2 * target)
    return whole, rest / (2 * target)


def _linear(i: int, source: int, target: int) -> Taps:
    left, t = _position(i, source, target)
    return [(left, 1 - t), (left + 1, t)]


def _cubic(i: int, source: int, target: int) -> Taps:
    left, t = _position(i, source, target)
    return [(left + k, _cubic_kernel(abs(t - k), a=-0.75)) for k in (-1, 0, 1, 2)]


def _area(i: int, source: int, target: int) -> Taps:
    # Output pixel i covers [i * source, (i + 1) * source) in units of 1 / target of a source pixel.
    begin, end = i * source, (i + 1) * source
    return [
        (k, (min(end, (k + 1) * target) - max(begin, k * target)) / source)
        for k in range(begin // target, -(-end // target))
    ]


def _area_enlarging(i: int, source: int, target: int) -> Taps:
    # OpenCV: where the image grows along either axis, INTER_AREA interpolates linearly, but only across the
    # output pixel that straddles two source pixels. Its arithmetic (double, then float) is repeated step by
    # step: where i * source / target is whole, the last bit decides which pixel is read.
    per_source = target / source
    left = math.floor(i * (1.0 / per_source))
    t = float(np.float32((i + 1) - (left + 1) * per_source))
    t = 0.0 if t <= 0 else t - math.floor(t)
    return [(left, 1 - t), (left + 1, t)]


def _antialiased(i: int, source: int, target: int, kernel: Callable[[float], float], radius: float) -> Taps:
    # As Pillow's precompute_coeffs: the kernel is stretched by the ratio when shrinking, cut at the image's
    # edge and normalised there (not replicated).
    ratio = source / target
    stretch = max(ratio, 1.0)
    centre = (i + 0.5) * ratio
    begin = max(int(centre - radius * stretch + 0.5), 0)
    end = min(int(centre + radius * stretch + 0.5), source)
    weights = [kernel(abs(k - centre + 0.5) / stretch) for k in range(begin, end)]
    total = sum(weights)
    return [(begin + k, weight / total) for k, weight in enumerate(weights)]


def _triangle(distance: float) -> float:
    return max(0.0, 1.0 - distance)


def _cubic_kernel(distance: float, a: float) -> float:
    # Keys, "Cubic convolution interpolation for digital image processing", 1981.
    d = distance
    if d < 1:
        return ((a + 2) * d - (a + 3)) * d * d + 1
    if d < 2:
        return ((d - 5) * d + 8) * a * d - 4 * a
    return 0.0


def _cubic_kernel_pillow(distance: float) -> float:
    return _cubic_kernel(distance, a=-0.5)
