from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.analysis.sample_faces import sample_faces
from btnet.analysis.upsampling_error import rows, upsampling_error


def faces(count: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth pictures of 112 px, so that the order of magnitude is that of faces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC) for image in coarse])


@pytest.mark.parametrize("grey", [0, 1, 127, 255])
def test_a_uniform_image_loses_nothing(grey: int) -> None:
    images = np.full((2, 112, 112, 3), grey, np.uint8)
    assert all(e.rmse == e.std == e.relative == 0 for e in upsampling_error(images, [1, 7, 30, 100]))


def test_the_error_is_that_of_opencv_there_and_back() -> None:
    images = faces()
    found = upsampling_error(images, [7, 14, 56])
    for error in found:
        r = error.resolution
        back = [cv2.resize(cv2.resize(image, (r, r)), (112, 112)).astype(float) for image in images]
        each = np.array([np.sqrt(np.mean((b - i) ** 2)) for b, i in zip(back, images, strict=True)])
        # Enlarging may differ from OpenCV by a grey level here and there.
        assert error.rmse == pytest.approx(each.mean(), abs=0.05)
        assert error.std == pytest.approx(each.std(), abs=0.05)
        norms = [np.linalg.norm(image.astype(float)) for image in images]
        relative = np.mean(
            [np.linalg.norm(b - i) / n for b, i, n in zip(back, images.astype(float), norms, strict=True)]
        )
        assert error.relative == pytest.approx(relative, rel=0.02)


def test_the_canonical_size_is_exact_and_smaller_sizes_lose_more() -> None:
    found = upsampling_error(faces(), [7, 14, 28, 112])
    assert found[-1].rmse == 0
    assert [e.rmse for e in found] == sorted((e.rmse for e in found), reverse=True)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 112), st.integers(2, 30))
def test_the_mean_does_not_depend_on_batches_or_on_other_images(resolution: int, count: int) -> None:
    images = np.concatenate([faces(2)] * count)
    [all_of_them] = upsampling_error(images, [resolution])
    [two] = upsampling_error(images[:2], [resolution])
    assert all_of_them.rmse == pytest.approx(two.rmse)
    assert all_of_them.relative == pytest.approx(two.relative)


def test_rows_name_the_interpolation_and_every_resolution() -> None:
    errors = {name: upsampling_error(faces(1), [7, 14], name) for name in ("bilinear", "area")}
    assert [row[:2] for row in rows(errors)] == [("bilinear", 7), ("bilinear", 14), ("area", 7), ("area", 14)]
    assert rows(errors)[0][2] == errors["bilinear"][0].rmse != errors["area"][0].rmse


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[N, S, S, 3\]"):
        upsampling_error(np.zeros((0, 112, 112, 3), np.uint8), [7])
    with pytest.raises(ValueError, match="the set has 6"):
        sample_faces("synthetic:3:2", 7)


def test_sampled_faces_are_spread_over_the_people() -> None:
    from btnet.data import SyntheticFaces

    everyone = SyntheticFaces(3, 2)
    found = sample_faces("synthetic:3:2", 3)
    np.testing.assert_array_equal(found, np.stack([everyone[i][0] for i in (0, 2, 4)]))
