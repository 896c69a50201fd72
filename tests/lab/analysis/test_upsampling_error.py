from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet_lab.analysis.sample_faces import sample_faces
from btnet_lab.analysis.upsampling_error import DOWN_UP, down_up_error, error_bound, rows


def faces(count: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth pictures of 112 px, so that the order of magnitude is that of faces."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
    return np.stack([cv2.resize(image, (112, 112), interpolation=cv2.INTER_CUBIC) for image in coarse])


def rendered(count: int) -> np.ndarray:
    """At least as many as fig. 1 asks for, of few different ones."""
    return np.concatenate([faces(4)] * (count // 4))


OPERATOR = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


def test_the_error_bound_is_eq_11_with_the_operator_of_eq_12() -> None:
    images = rendered(100)

    def eq_11(r: int) -> float:
        """One pixel at a time, on what OpenCV's bilinear shrinking gives."""
        found = []
        for image in images[:4]:
            small = image if r == 112 else cv2.resize(image, (r, r), interpolation=cv2.INTER_LINEAR)
            small = small.astype(int)
            windows = np.lib.stride_tricks.sliding_window_view(small, (3, 3), axis=(0, 1))
            assert windows.shape == (r - 2, r - 2, 3, 3, 3)
            found.append(np.mean(np.abs((windows * OPERATOR).sum(axis=(-1, -2)))) / 64)
        return float(np.mean(found))

    found = error_bound(images, [112, 56, 28, 14, 7])
    assert [e.resolution for e in found] == [112, 56, 28, 14, 7]
    assert found[0].mean == pytest.approx(1)
    for e in found:
        assert e.mean == pytest.approx(eq_11(e.resolution) / eq_11(112), rel=1e-9)
    assert [e.mean for e in found] == sorted(e.mean for e in found)
    assert found[0].std > 0


def test_the_error_bound_is_of_a_hundred_images_with_detail() -> None:
    with pytest.raises(ValueError, match=r"99 images: fig\. 1 is a mean over 100 or more"):
        error_bound(rendered(100)[:99], [14])
    with pytest.raises(ValueError, match=r"2 px: eq\. 12 looks at 3 x 3 px"):
        error_bound(rendered(100), [14, 2])
    with pytest.raises(ValueError, match="hold no detail"):
        error_bound(np.full((100, 112, 112, 3), 127, np.uint8), [14])


@pytest.mark.parametrize("grey", [0, 1, 127, 255])
def test_a_uniform_image_loses_nothing(grey: int) -> None:
    images = np.full((2, 112, 112, 3), grey, np.uint8)
    assert all(e.mean == e.std == 0 for e in down_up_error(images, [1, 7, 30, 100]))


def test_the_error_there_and_back_is_that_of_opencv() -> None:
    images = faces()
    for error in down_up_error(images, [7, 14, 56]):
        r = error.resolution
        back = [cv2.resize(cv2.resize(image, (r, r)), (112, 112)).astype(float) for image in images]
        each = np.array([np.sqrt(np.mean((b - i) ** 2)) for b, i in zip(back, images, strict=True)])
        # Enlarging may differ from OpenCV by a grey level here and there.
        assert error.mean == pytest.approx(each.mean(), abs=0.05)
        assert error.std == pytest.approx(each.std(), abs=0.05)


def test_the_canonical_size_is_exact_and_smaller_sizes_lose_more() -> None:
    found = down_up_error(faces(), [7, 14, 28, 112])
    assert found[-1].mean == 0
    assert [e.mean for e in found] == sorted((e.mean for e in found), reverse=True)


@settings(max_examples=10)
@given(st.integers(1, 112), st.integers(2, 30))
def test_the_mean_does_not_depend_on_batches_or_on_other_images(resolution: int, count: int) -> None:
    images = np.concatenate([faces(2)] * count)
    [all_of_them] = down_up_error(images, [resolution])
    [two] = down_up_error(images[:2], [resolution])
    assert all_of_them.mean == pytest.approx(two.mean)


def test_rows_name_the_interpolation_and_every_resolution() -> None:
    errors = {name: down_up_error(faces(1), [7, 14], name) for name in ("bilinear", "area")}
    found = list(rows(DOWN_UP, errors))
    assert [tuple(row.values())[:2] for row in found] == [
        (n, r) for n in ("bilinear", "area") for r in (7, 14)
    ]
    assert found[0]["rmse_grey_levels"] == errors["bilinear"][0].mean != errors["area"][0].mean


def test_images_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[N, S, S, 3\]"):
        down_up_error(np.zeros((0, 112, 112, 3), np.uint8), [7])
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[N, S, S, 3\]"):
        error_bound(np.zeros((100, 3, 112, 112), np.uint8), [7])
    for asked in (0, 7):
        with pytest.raises(ValueError, match=f"{asked} images asked for, expected 1 to 6"):
            sample_faces("synthetic:3:2", asked)


def test_sampled_faces_are_spread_over_the_people() -> None:
    from btnet.data import SyntheticFaces

    everyone = SyntheticFaces(3, 2)
    found = sample_faces("synthetic:3:2", 3)
    np.testing.assert_array_equal(found, np.stack([everyone[i][0] for i in (0, 2, 4)]))
