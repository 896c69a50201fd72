"""Five landmarks in a frame -> an r x r crop in one resampling, and the face's own scale."""

from __future__ import annotations

import math
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from btnet.images.interpolation import check_interpolation

__all__ = ["TEMPLATE", "align_face", "crop_transform", "face_size", "residual", "template", "wrong_order"]

_TEMPLATE_SIZE: Final = 112
TEMPLATE: Final[NDArray[np.float32]] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""Eyes (the left one in the image first), nose tip and corners of the mouth in a 112 px crop: ArcFace's."""


def _order(places: str) -> list[int]:
    """Where x and y of each landmark stand among the ten numbers of landmarks that were given in another order."""
    return [number for place in places for number in (2 * int(place), 2 * int(place) + 1)]


_ORDERS: Final = {
    "eyes exchanged": _order("10234"),
    "corners of the mouth exchanged": _order("01243"),
    "left and right exchanged": _order("10243"),
    "nose first": _order("12034"),
    "nose last": _order("01423"),
    "nose first, left and right exchanged": _order("21043"),
    "nose last, left and right exchanged": _order("10432"),
    "mouth, nose, eyes": _order("34201"),
    "mouth, eyes, nose": _order("23401"),
    "nose, mouth, eyes": _order("34012"),
    "(y, x)": [1, 0, 3, 2, 5, 4, 7, 6, 9, 8],
    "(y, x), nose first": [3, 2, 5, 4, 1, 0, 7, 6, 9, 8],
    "(y, x), nose last": [1, 0, 3, 2, 9, 8, 5, 4, 7, 6],
    "x1 .. x5, y1 .. y5": [0, 5, 1, 6, 2, 7, 3, 8, 4, 9],
    "y1 .. y5, x1 .. x5": [5, 0, 6, 1, 7, 2, 8, 3, 9, 4],
}
# A given order is at fault if it misses the template by more than the first, in px of a 112 px crop, and another one
# by less than the second, and by less than this share of the given one's.
_SUSPECT_PX, _FITTING_PX, _CLEARLY = 12.0, 7.0, 0.45
_LINE = 0.01  # width of a face by its length from which on it is one

# Per pixel of the crop and axis. A box of 16 x 16 samples is smooth enough for any face.
_MOST_SAMPLES = 16


def template(size: int) -> NDArray[np.floating[Any]]:
    """Where the landmarks lie in a crop of `size` px, float [5, 2] as (x, y).

    Pixel centres are whole numbers, so a crop shrunk from 112 px has them at (t + 1/2) size / 112 - 1/2. A
    template that is merely scaled would shift a 7 px face by half a pixel, 7 % of its width, against the faces
    a branch was trained on.
    """
    if size == _TEMPLATE_SIZE:
        return TEMPLATE
    return (TEMPLATE.astype(np.float64) + 0.5) * (size / _TEMPLATE_SIZE) - 0.5


def face_size(landmarks: NDArray[Any]) -> float:
    """How many px of its frame a face spans: the side of the square that the 112 px template covers there.

    It is the native size of an aligned face, to be rounded for `btnet.inference.select`.

    Args:
        landmarks: [5, 2] as (x, y) in px of the frame, in the order of `TEMPLATE`.

    Raises:
        ValueError: as `crop_transform`.
    """
    matrix = crop_transform(landmarks, _TEMPLATE_SIZE)
    return _TEMPLATE_SIZE / _scale(matrix)


def residual(landmarks: NDArray[Any]) -> float:
    """How far landmarks [5, 2] stay from the template after the best similarity: root mean square, px of 112."""
    return float(_misfits(np.asarray(landmarks, np.float64)[None])[0][0])


def wrong_order(landmarks: NDArray[Any]) -> str:
    """What landmarks look like if another order fits a face clearly better: "(y, x)", "eyes exchanged" ...; else "".

    Compared are the residuals (root mean square over the landmarks) of the similarity, without reflection, to the
    template. A mixed-up order misses it by 15 to 23 px of 112, a right one in profile by up to 16 px, but there no
    other order fits better. In a million simulated faces turned by any angle, with yaw up to 90 degrees and pitch up
    to 30, or narrowed to a tenth, none was blamed with errors of 2 px on each axis, and 1 in 10^5 with 4 px. Of frontal
    ones all wrong orders were told (99 % of x1 .. y5) with errors of 3 px, 98 % with 4 px; with yaw up to 30 degrees
    and pitch up to 20 it is 99 % with 1 px, 97 % with 2 px. Mixed-up profiles are not told.

    Args:
        landmarks: [5, 2], finite, not in one point.
    """
    numbers = np.asarray(landmarks, np.float64).reshape(10)
    given, _ = _misfits(numbers.reshape(1, 5, 2))
    if given[0] <= _SUSPECT_PX:
        return ""
    residuals, turns = _misfits(numbers[list(_ORDERS.values())].reshape(-1, 5, 2))
    fitting = np.flatnonzero(residuals < min(_FITTING_PX, _CLEARLY * given[0]))
    # (y, x) of an upright face are also those of one that lies on its side, left and right exchanged.
    best = min(
        fitting.tolist(), key=lambda i: (round(float(turns[i]) * 2 / math.pi), residuals[i]), default=None
    )
    return "" if best is None else list(_ORDERS)[best]


def _misfits(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far the best similarity of landmarks [N, 5, 2] stays from the template in px, and its angle; [N] each."""
    found, goal = _centred(points), _centred(TEMPLATE.astype(np.float64))
    cross = (found.conj() * goal).sum(axis=-1)
    left = (abs(goal) ** 2).sum() - abs(cross) ** 2 / np.maximum((abs(found) ** 2).sum(axis=-1), 1e-300)
    return np.sqrt(np.maximum(left, 0) / len(TEMPLATE)), abs(np.angle(cross))


def _centred(points: NDArray[np.float64]) -> NDArray[np.complex128]:
    found = points[..., 0] + 1j * points[..., 1]
    return np.asarray(found - found.mean(axis=-1, keepdims=True))


def crop_transform(landmarks: NDArray[Any], size: int, *, check_order: bool = True) -> NDArray[np.float64]:
    """The similarity (rotation, scale, shift; least squares) that takes a frame to a crop of `size` px.

    At 112 px it is the one of insightface's `norm_crop`, bit by bit.

    Args:
        landmarks: [5, 2] as (x, y) in px of the frame, in the order of `TEMPLATE`.
        size: side of the crop in px.
        check_order: refuse landmarks that are clearly in another order (see `wrong_order`).

    Returns:
        float64 [2, 3], to be applied to (x, y, 1).

    Raises:
        ValueError: if the landmarks are not [5, 2], not finite, in one point or on one line, in another order, or span
            less than 2 px.
    """
    points = _checked(landmarks)
    if check_order and (order := wrong_order(points)):
        raise ValueError(
            f"landmarks {_listed(points)} look like {order}; expected (x, y) of the left eye in the image, the right "
            "eye, nose tip, left and right corner of the mouth"
        )
    matrix = _estimate(points, template(size))
    if matrix is None or not np.isfinite(matrix).all() or _scale(matrix) == 0:
        raise ValueError(
            f"landmarks {_listed(points)} span no face: they are (nearly) one point; drop this detection"
        )
    span = size / _scale(matrix)
    if span < 2:
        raise ValueError(
            f"landmarks {_listed(points)} span {span:.2g} px; expected (x, y) in px of the frame, not in "
            "fractions of its size"
        )
    return matrix


def align_face(
    frame: NDArray[np.uint8],
    landmarks: NDArray[Any],
    size: int,
    interpolation: str = "bilinear",
    *,
    check_order: bool = True,
) -> NDArray[np.uint8]:
    """Cut one face out of a frame, upright and at `size` px, in one resampling.

    The crop is read from the frame itself, never from a larger or smaller crop. How follows from the named
    interpolation, as when a face is resized: `bilinear` and `bicubic` look at 2 x 2 and 4 x 4 pixels of the
    frame whatever the scale. That is what branches trained on such views know, and what insightface does at
    112 px; fine detail aliases where the frame holds many more pixels than the crop. `area` and the `_aa`
    kinds average k x k bilinear samples per pixel, k being how often the face is shrunk, rounded up: no
    pixel of the face is left out. (With `ceil`, branches never shrink a face; with `near` up to
    2 to 2.5 fold, with `floor` up to 4.)

    Args:
        frame: uint8 [H, W, 3]; the colour order is kept.
        landmarks: [5, 2] as (x, y) in px of the frame, in the order of `TEMPLATE`.
        size: side of the crop in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`.
        check_order: as in `crop_transform`.

    Returns:
        uint8 [size, size, 3]. What lies outside of the frame is black, as insightface makes it.

    Raises:
        ValueError: for another frame, landmarks as in `crop_transform` or wholly outside of the frame, or an
            unknown interpolation.
    """
    check_interpolation(interpolation)
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        found = (
            f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
        )
        raise ValueError(f"frame is {found}, expected uint8 [H, W, 3]")
    matrix = crop_transform(landmarks, size, check_order=check_order)
    height, width = frame.shape[:2]
    points = np.asarray(landmarks, np.float64)
    if not ((points >= -0.5) & (points < (width - 0.5, height - 0.5))).all(axis=1).any():
        raise ValueError(
            f"landmarks {_listed(points)} all lie outside of the frame of {width} x {height} px; are they "
            "those of this frame, as (x, y)?"
        )
    antialiased = interpolation == "area" or interpolation.endswith("_aa")
    samples = min(max(math.ceil(1 / _scale(matrix) - 1e-6), 1), _MOST_SAMPLES) if antialiased else 1
    kernel = cv2.INTER_CUBIC if interpolation == "bicubic" else cv2.INTER_LINEAR
    if samples > 1:
        # The same crop on a grid k times as fine; pixel centres move by half a fine pixel.
        matrix = matrix * samples
        matrix[:, 2] += (samples - 1) / 2
    fine = size * samples
    crop = cv2.warpAffine(frame, matrix, (fine, fine), flags=kernel, borderMode=cv2.BORDER_CONSTANT)
    if samples > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def _estimate(points: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64] | None:
    if hasattr(SimilarityTransform, "from_estimate"):
        # scikit-image 0.26 and later; a failed estimation is a falsy object.
        transform = SimilarityTransform.from_estimate(points, target)
        return np.asarray(transform.params[:2], np.float64) if transform else None
    before: Any = SimilarityTransform
    transform = before()
    return np.asarray(transform.params[:2], np.float64) if transform.estimate(points, target) else None


def _checked(landmarks: NDArray[Any]) -> NDArray[Any]:
    points = np.asarray(landmarks)
    if points.shape != (5, 2) or points.dtype.kind not in "fiu":
        raise ValueError(
            f"landmarks are {points.dtype} {list(points.shape)}, expected numbers [5, 2]: (x, y) of two eyes, "
            "nose tip and two corners of the mouth"
        )
    if not np.isfinite(points).all():
        raise ValueError(f"landmarks {_listed(points)} are not finite; drop this detection")
    found = _centred(points.astype(np.float64))
    square, length = abs((found**2).sum()), (abs(found) ** 2).sum()
    if length > 0 and length - square < _LINE**2 * (length + square):
        raise ValueError(
            f"landmarks {_listed(points)} span no face: they are on one line; drop this detection"
        )
    # float32, as detectors give them, is kept: insightface computes in it too.
    return points if points.dtype == np.float32 else points.astype(np.float64)


def _scale(matrix: NDArray[np.float64]) -> float:
    return math.hypot(matrix[0, 0], matrix[1, 0])


def _listed(points: NDArray[Any]) -> str:
    return str([[float(f"{value:.4g}") for value in point] for point in points.tolist()])
