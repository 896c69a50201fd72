"""Alignment against insightface and against resizing, and landmarks that are none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from btnet.images.interpolation import INTERPOLATIONS
from btnet.images.resize import resize
from btnet.serving import alignment
from btnet.serving.alignment import TEMPLATE, align_face, crop_transform, face_size, template, wrong_order

Points = NDArray[np.float64]


def smooth(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture without detail that two ways of sampling would see differently."""
    coarse = np.random.default_rng(seed).integers(
        0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8
    )
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def moved(points: NDArray[Any], scale: float, angle_rad: float, shift: Any) -> Points:
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    return np.asarray(points.astype(np.float64) @ np.array([[cos, sin], [-sin, cos]]) + shift)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_112_px_the_crop_is_insightfaces_bit_by_bit(dtype: type) -> None:
    face_align = pytest.importorskip("insightface.utils.face_align")
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (200, 260, 3), dtype=np.uint8)
    for _ in range(40):
        centred = TEMPLATE - TEMPLATE.mean(axis=0)
        points = moved(centred, rng.uniform(0.1, 2.5), rng.uniform(-1, 1), rng.uniform(30, 170, 2))
        points = (points + rng.normal(0, 1, (5, 2))).astype(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # scikit-image on the call insightface makes
            expected = face_align.norm_crop(frame, points)
        np.testing.assert_array_equal(align_face(frame, points, 112), expected)


@pytest.mark.parametrize("size", [56, 28, 14, 7])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "area"])
def test_an_upright_112_px_face_aligned_to_r_is_the_view_that_branches_are_trained_on(
    size: int, interpolation: str
) -> None:
    # Noise: a shift by a tenth of a pixel would move it by many grey levels.
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    aligned = align_face(face, TEMPLATE, size, interpolation).astype(int)
    # Bicubic taps at the edge meet black in a warp and the edge pixel again in resizing.
    inside = slice(1, -1) if (interpolation, size) == ("bicubic", 56) else slice(None)
    assert np.abs(aligned - resize(face, size, interpolation))[inside, inside].max() <= 1


def test_the_template_scaled_without_its_half_pixel_would_be_a_different_view() -> None:
    np.testing.assert_allclose(template(7) + 0.5, (TEMPLATE + 0.5) / 16, atol=1e-6)
    assert np.abs(template(7) - TEMPLATE / 16).min() > 0.4
    np.testing.assert_array_equal(template(112), TEMPLATE)


@given(
    scale=st.floats(0.05, 8),
    angle_rad=st.floats(-3, 3),
    shift=st.tuples(st.floats(-200, 200), st.floats(-200, 200)),
    size=st.sampled_from([112, 28, 14, 7]),
)
@settings(max_examples=60)
def test_a_face_moved_turned_and_scaled_is_found_again(
    scale: float, angle_rad: float, shift: tuple[float, float], size: int
) -> None:
    points = moved(TEMPLATE, scale, angle_rad, shift)
    assert face_size(points) == pytest.approx(112 * scale, rel=1e-5)
    ones = np.hstack([points, np.ones((5, 1))])
    np.testing.assert_allclose(ones @ crop_transform(points, size).T, template(size), atol=2e-3)


@pytest.mark.parametrize("size", [112, 28, 14])
def test_the_crop_does_not_depend_on_how_the_face_lies_in_the_frame(size: int) -> None:
    face = smooth(300, 300)
    upright = align_face(face, moved(TEMPLATE, 1.0, 0.0, (80, 80)), size).astype(int)
    for angle_rad in (0.3, -0.7):
        points = moved(TEMPLATE, 1.0, angle_rad, (150, 120))
        # The frame in which the same face lies at these points.
        there = cv2.invertAffineTransform(crop_transform(points, 112))
        into = there @ np.vstack([crop_transform(moved(TEMPLATE, 1.0, 0.0, (80, 80)), 112), [0, 0, 1]])
        frame = np.asarray(cv2.warpAffine(face, into, (400, 400), borderMode=cv2.BORDER_REPLICATE), np.uint8)
        assert np.abs(align_face(frame, points, size).astype(int) - upright).mean() < 3


def test_kinds_with_antialias_leave_no_pixel_out_and_bilinear_reads_two_by_two() -> None:
    # A board of black and white pixels: its mean is grey, samples of it are not.
    board = np.indices((224, 224)).sum(0) % 2 * 255
    frame = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    points = moved(TEMPLATE, 1.5, 0.2, (20, 0))
    contrast = {name: align_face(frame, points, 14, name)[4:10, 4:10].std() for name in INTERPOLATIONS}
    assert max(contrast[name] for name in ("area", "bilinear_aa", "bicubic_aa")) < 3
    assert min(contrast[name] for name in ("bilinear", "bicubic")) > 30


def test_what_lies_outside_of_the_frame_is_black_and_colours_keep_their_order() -> None:
    frame = np.full((60, 60, 3), (10, 20, 30), np.uint8)
    crop = align_face(frame, moved(TEMPLATE, 0.5, 0.0, (-20, 2)), 28)
    assert (crop[:, :8] == 0).all()
    assert (crop[4:-4, 14:] == (10, 20, 30)).all()


BAD = {
    "not finite": np.full((5, 2), np.nan),
    "one point": np.full((5, 2), 7.0),
    "on one line": np.arange(10.0).reshape(5, 2) * 4,
    "they are on one line": np.outer(np.arange(5), (0, 9)) + 3,
    "fractions of its size": TEMPLATE / 112,
    r"float64 \[4, 2\], expected numbers \[5, 2\]": np.zeros((4, 2)),
    "object": np.full((5, 2), None),
    "all lie outside of the frame of 60 x 50 px": TEMPLATE + 300,
}


@pytest.mark.parametrize("message", BAD)
def test_landmarks_that_span_no_face_are_refused(message: str) -> None:
    frame = np.zeros((50, 60, 3), np.uint8)
    with pytest.raises(ValueError, match=message):
        align_face(frame, BAD[message], 14)


LEFT_RIGHT = [1, 0, 2, 4, 3]
# What people hand in -> what it is called.
MISTAKES: dict[str, Callable[[Points], Points]] = {
    "(y, x)": lambda points: points[:, ::-1],
    "x1 .. x5, y1 .. y5": lambda points: points.T.reshape(5, 2),
    "y1 .. y5, x1 .. x5": lambda points: points.T[::-1].reshape(5, 2),
    "eyes exchanged": lambda points: points[[1, 0, 2, 3, 4]],
    "corners of the mouth exchanged": lambda points: points[[0, 1, 2, 4, 3]],
    "left and right exchanged": lambda points: points[LEFT_RIGHT],
    "nose first": lambda points: points[[2, 0, 1, 3, 4]],
    "nose last": lambda points: points[[0, 1, 3, 4, 2]],
    "nose first, left and right exchanged": lambda points: points[LEFT_RIGHT][[2, 0, 1, 3, 4]],
    "nose last, left and right exchanged": lambda points: points[LEFT_RIGHT][[0, 1, 3, 4, 2]],
    "mouth, nose, eyes": lambda points: points[[3, 4, 2, 0, 1]],
    "mouth, eyes, nose": lambda points: points[[3, 4, 0, 1, 2]],
    "nose, mouth, eyes": lambda points: points[[2, 3, 4, 0, 1]],
    "(y, x), nose first": lambda points: points[[2, 0, 1, 3, 4]][:, ::-1],
    "(y, x), nose last": lambda points: points[[0, 1, 3, 4, 2]][:, ::-1],
}


def simulated(
    count: int, noise_px: float, *, narrow: float = 1.0, nose_px: float = 0.0, upright: bool = False
) -> list[Points]:
    """Faces with errors in px of 112, narrowed and the nose aside as in profile; anywhere, of any size and turn."""
    rng = np.random.default_rng(7)
    centred = (TEMPLATE - TEMPLATE.mean(axis=0)).astype(np.float64)
    faces = []
    for _ in range(count):
        points = centred * (narrow, 1)
        points[2, 0] += rng.uniform(-nose_px, nose_px)
        points += rng.normal(0, noise_px, (5, 2))
        angle_rad = rng.uniform(-0.5, 0.5) if upright else rng.uniform(-np.pi, np.pi)
        faces.append(moved(points, np.exp(rng.uniform(-2.8, 1)), angle_rad, rng.uniform(100, 900, 2)))
    return faces


@pytest.mark.parametrize("name", MISTAKES)
def test_landmarks_in_a_wrong_order_are_refused_and_the_order_is_named(name: str) -> None:
    told = [wrong_order(MISTAKES[name](points)) for points in simulated(200, 2, upright=True)]
    assert told.count(name) >= 190
    told = [wrong_order(MISTAKES[name](points)) for points in simulated(200, 2)]
    assert sum(map(bool, told)) >= 196
    shifted = TEMPLATE.astype(np.float64) + 20
    with pytest.raises(ValueError, match=re.escape(f"look like {name}; expected (x, y) of the left eye")):
        align_face(np.zeros((200, 200, 3), np.uint8), MISTAKES[name](shifted), 14)


@pytest.mark.parametrize(
    ("noise_px", "narrow", "nose_px"),
    [(0, 1, 0), (2, 1, 0), (4, 1, 5), (2, 0.6, 12), (2, 0.4, 18), (2, 0.2, 18), (2, 0.1, 12), (3, 0.2, 0)],
)
def test_a_right_face_is_never_blamed_noisy_in_profile_or_upside_down(
    noise_px: float, narrow: float, nose_px: float
) -> None:
    faces = simulated(1000, noise_px, narrow=narrow, nose_px=nose_px)
    assert not any(wrong_order(points) for points in faces)


def test_a_face_of_7_px_with_landmarks_on_whole_pixels_is_not_blamed() -> None:
    for points in simulated(500, 1):
        small = np.round((points - points.mean(axis=0)) * 7 / face_size(points) + 40)
        assert not wrong_order(small)


def test_what_was_blamed_is_aligned_where_the_list_was_checked_as_a_whole() -> None:
    frame, shifted = smooth(200, 200), TEMPLATE.astype(np.float64) + 20
    crop = align_face(frame, MISTAKES["eyes exchanged"](shifted), 112, check_order=False)
    assert crop.shape == (112, 112, 3)


def test_frames_that_are_no_colour_pictures_and_unknown_interpolations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frame is uint16 \[50, 60, 3\], expected uint8"):
        align_face(np.zeros((50, 60, 3), np.uint16), TEMPLATE, 14)
    with pytest.raises(ValueError, match="frame is NoneType"):
        align_face(None, TEMPLATE, 14)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="interpolation 'linear' is unknown"):
        align_face(np.zeros((50, 60, 3), np.uint8), TEMPLATE, 14, "linear")


def test_scikit_image_before_0_26_gives_the_same_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    points = moved(TEMPLATE, 0.3, 0.4, (20, 10))
    expected = crop_transform(points, 14)

    class Before:
        """What 0.22 to 0.25 offer: estimate() fills `params`, and answers whether it could."""

        def __init__(self) -> None:
            self.params = np.full((3, 3), np.nan)

        def estimate(self, source: Points, target: Points) -> bool:
            if np.ptp(source) == 0:
                return False
            self.params = _estimated(source, target)
            return True

    monkeypatch.setattr(alignment, "SimilarityTransform", Before)
    np.testing.assert_allclose(crop_transform(points, 14), expected, atol=1e-9)
    with pytest.raises(ValueError, match="one point"):
        crop_transform(np.ones((5, 2)), 14)


def _estimated(source: NDArray[Any], target: NDArray[Any]) -> Any:
    """Least squares in a, b, x, y of the similarity ((a, -b), (b, a)), (x, y): no call of scikit-image."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, dx, dy = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    return np.array([[a, -b, dx], [b, a, dy], [0, 0, 1]])


def test_the_transform_is_the_least_squares_similarity() -> None:
    rng = np.random.default_rng(1)
    points = moved(TEMPLATE, 0.7, -0.5, (30, 60)) + rng.normal(0, 2, (5, 2))
    np.testing.assert_allclose(crop_transform(points, 28), _estimated(points, template(28))[:2], atol=1e-6)
