"""Photographs of faces from far: the same by seed, of the size and blur they say, their landmarks where they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from btnet.serving.alignment import TEMPLATE, align_face, face_size
from btnet.synthetic.draws import Draws
from btnet_lab.native_test.native_set import NativeSet, capture_faces, capture_pairs
from btnet_lab.native_test.scene import FACE_PX, Conditions, photograph

CLEAN = Conditions(
    noise=(0, 0),
    jpeg_quality=(100, 100),
    gamma=(1, 1),
    tint=(1, 1),
    foreshortening=0,
    oversampling=(1, 1),
)
FACE = np.full((FACE_PX, FACE_PX, 3), 30, np.uint8)
for x, y in TEMPLATE:
    cv2.circle(FACE, (round(float(x)), round(float(y))), 6, (250, 250, 250), -1)


def step_edge() -> NDArray[np.uint8]:
    face = np.full((FACE_PX, FACE_PX, 3), 40, np.uint8)
    face[:, FACE_PX // 2 :] = 200
    return face


def edge_width(crop: NDArray[np.uint8]) -> float:
    """Standard deviation in px of the line spread function along the middle row."""
    row = crop[len(crop) // 4 : -len(crop) // 4, :, 1].astype(np.float64).mean(axis=0)
    inner = row[len(row) // 6 : -len(row) // 6]
    spread = np.abs(np.diff(inner))
    at = np.arange(len(spread))
    middle = (spread * at).sum() / spread.sum()
    return float(np.sqrt((spread * (at - middle) ** 2).sum() / spread.sum()))


def make_set(seed: int = 5) -> NativeSet:
    images = np.random.default_rng(0).integers(0, 256, (8, FACE_PX, FACE_PX, 3), np.uint8)
    return capture_pairs(
        images, np.array([True, False, True, False]), Conditions(), seed=seed, source="noise"
    )


def test_a_set_is_the_same_by_seed_and_another_by_another(tmp_path: Path) -> None:
    first, second, other = make_set(), make_set(), make_set(seed=6)
    assert first.digest() == second.digest() != other.digest()
    first.save(tmp_path / "a.npz")
    second.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read = NativeSet.load(tmp_path / "a.npz")
    assert read.digest() == first.digest()
    assert read.about["seed"] == 5
    assert read.about["source"] == "noise"


def test_a_face_depends_on_its_number_and_on_no_other_face() -> None:
    images = np.stack([FACE] * 4)
    first, second = capture_pairs(images, np.array([True, False]), Conditions(), seed=5).probes
    after_another = capture_faces([255 - FACE, FACE], Conditions(), seed=5)[1]
    np.testing.assert_array_equal(after_another.crop, second)
    assert first.shape != second.shape or (first != second).any()


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), low=st.floats(4, 40), factor=st.floats(1, 3), over=st.floats(1, 4))
def test_sizes_lie_in_the_ranges_asked_for(seed: int, low: float, factor: float, over: float) -> None:
    high = min(low * factor, FACE_PX)
    conditions = Conditions(optical_px=(low, high), oversampling=(1, over))
    taken = photograph(FACE, TEMPLATE, conditions, Draws(seed))
    assert low * 0.99 - 0.5 <= taken.optical_px <= high * 1.01 + 0.5
    assert taken.optical_px <= taken.pixel_px <= min(over * high, FACE_PX) + 0.5
    # the scene is twice as wide as the face, in whole px
    assert taken.frame.shape == (round(2 * taken.pixel_px), round(2 * taken.pixel_px), 3)
    assert 0.5 * taken.pixel_px - 1 < taken.box[0] < taken.box[1] * 1.5 < 1.8 * taken.pixel_px + 3


def test_landmarks_point_at_the_face_within_a_detectors_error() -> None:
    errors = []
    for seed in range(20):
        conditions = replace(CLEAN, optical_px=(60, 90))
        taken = photograph(FACE, TEMPLATE, conditions, Draws(seed))
        errors.append(face_size(taken.landmarks) / taken.pixel_px - 1)
        crop = align_face(taken.frame, taken.landmarks, FACE_PX)
        for x, y in TEMPLATE:
            assert crop[round(float(y)), round(float(x)), 1] > 150
    assert np.abs(np.mean(errors)) < 0.02
    assert 0.002 < np.std(errors) < 0.06


@pytest.mark.parametrize("optical", [14.0, 28.0])
def test_the_lens_blurs_as_a_sensor_of_the_optical_size_would(optical: float) -> None:
    """The edge is as wide as the formula says: lens and pixels in quadrature, half an optical px together."""
    conditions = replace(CLEAN, optical_px=(optical, optical), oversampling=(4, 4), roll_deg=0)
    widths = []
    for seed in range(8):
        taken = photograph(step_edge(), TEMPLATE, conditions, Draws(seed))
        assert taken.pixel_px / taken.optical_px == pytest.approx(4, abs=0.02)
        # In px of the photograph: not aligned, so that nothing but lens and sensor blurs.
        middle, half = taken.landmarks.mean(axis=0).round().astype(int), round(taken.pixel_px / 3)
        crop = taken.frame[middle[1] - half : middle[1] + half, middle[0] - half : middle[0] + half]
        widths.append(edge_width(np.ascontiguousarray(crop)) / taken.pixel_px * FACE_PX)
    blur = 0.25 * ((FACE_PX / optical) ** 2 - (FACE_PX / (4 * optical)) ** 2)
    pixels = 2 * (FACE_PX / (4 * optical)) ** 2 / 12  # a pixel's box, and the difference of two neighbours
    assert np.mean(widths) == pytest.approx(np.sqrt(blur + pixels), rel=0.12)


def test_bad_ranges_and_faces_are_named() -> None:
    with pytest.raises(ValueError, match=r"oversampling from 0\.5 to 2"):
        Conditions(oversampling=(0.5, 2))
    with pytest.raises(ValueError, match="optical_px from 6 to 200"):
        Conditions(optical_px=(6, 200))
    with pytest.raises(ValueError, match=r"face is uint8 \[56, 56, 3\]"):
        photograph(FACE[:56, :56], TEMPLATE, Conditions(), Draws(0))
    with pytest.raises(ValueError, match=r"look like \(y, x\)"):
        photograph(FACE, TEMPLATE[:, ::-1], Conditions(), Draws(0))


def test_a_damaged_set_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(FileNotFoundError, match="native-test --make"):
        NativeSet.load(path)
    make_set().save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"a\.npz: .*damaged or of another kind"):
        NativeSet.load(path)
