from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.draws import bell
from btnet.serving.alignment import TEMPLATE, crop_transform, template
from btnet.synthetic.faces import SyntheticFaces

FACES = SyntheticFaces(4, 2)
IMAGES = torch.from_numpy(np.stack([FACES[i][0] for i in range(8)])).permute(0, 3, 1, 2)
KEYS = torch.arange(8) * 1000 + 7


@given(key=st.integers(0, 2**40), epoch=st.integers(0, 50), error=st.floats(0.001, 0.1))
def test_it_is_the_alignment_by_landmarks_with_errors(key: int, epoch: int, error: float) -> None:
    keys = torch.tensor([key])
    errors = bell(keys * 16 + torch.arange(10), seed=3, epoch=epoch, purpose="alignment_jitter").reshape(5, 2)
    landmarks = TEMPLATE.astype(np.float64) + 112 * error * errors.numpy()
    there = np.vstack([crop_transform(landmarks, 112), [0, 0, 1]])
    [back] = AlignmentJitter(error, template, seed=3).transforms(keys, epoch, 112)
    np.testing.assert_allclose(back.numpy(), np.linalg.inv(there)[:2], rtol=1e-4, atol=2e-3)


def test_faces_move_as_opencv_moves_them() -> None:
    smooth = torch.from_numpy(
        np.stack([cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (0, 0), 2) for image in IMAGES])
    ).permute(0, 3, 1, 2)
    jitter = AlignmentJitter(0.03, template, seed=3)
    found = jitter(smooth, KEYS, 1)
    for image, transform, moved in zip(smooth, jitter.transforms(KEYS, 1, 112), found, strict=True):
        expected = cv2.warpAffine(
            image.permute(1, 2, 0).numpy(),
            transform.numpy(),
            (112, 112),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        difference = np.abs(moved.permute(1, 2, 0).numpy().astype(int) - expected)
        assert difference.max() <= 2
        assert difference.mean() < 0.1
    assert not torch.equal(found, smooth)


def test_an_error_that_vanishes_leaves_the_face_as_it_is() -> None:
    assert torch.equal(AlignmentJitter(1e-9, template)(IMAGES, KEYS, 0), IMAGES)


def test_shift_turn_and_scale_have_the_spread_of_a_least_squares_fit() -> None:
    error = 0.02
    back = AlignmentJitter(error, template, seed=1).transforms(torch.arange(20_000), 0, 112)
    points = TEMPLATE - TEMPLATE.mean(0)
    around = error * 112 / np.sqrt((points.astype(np.float64) ** 2).sum())
    assert float(back[:, 1, 0].std()) == pytest.approx(around, rel=0.03)
    assert float(back[:, 0, 0].std()) == pytest.approx(around, rel=0.03)
    middle = torch.tensor([*TEMPLATE.mean(0).tolist(), 1.0], dtype=torch.float64)
    shifts = back @ middle - middle[:2]
    assert shifts.std(0).tolist() == pytest.approx([error * 112 / np.sqrt(5)] * 2, rel=0.03)


@given(
    key=st.integers(0, 2**40), error=st.floats(0.001, 0.1), size=st.sampled_from([16, 32, 48, 64, 128, 224])
)
def test_a_face_of_any_size_moves_by_the_same_share_of_its_side(key: int, error: float, size: int) -> None:
    jitter = AlignmentJitter(error, template, seed=3)
    [at_112], [found] = (jitter.transforms(torch.tensor([key]), 1, side).numpy() for side in (112, size))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.3, 0.9], [1.0, 1.0]])  # as shares of the side

    def moved(transform: Any, side: int) -> Any:
        return ((corners * side - 0.5) @ transform[:, :2].T + transform[:, 2] + 0.5) / side

    np.testing.assert_allclose(moved(found, size), moved(at_112, 112), rtol=0, atol=1e-6)


def test_a_face_moves_alike_in_any_batch_and_anew_in_each_epoch() -> None:
    jitter = AlignmentJitter(0.03, template, seed=3)
    together = jitter(IMAGES, KEYS, 1)
    alone = torch.cat([jitter(IMAGES[i : i + 1], KEYS[i : i + 1], 1) for i in range(8)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, jitter(IMAGES, KEYS, 2))


@pytest.mark.parametrize("error", [-0.1, 0.0, 0.3])
def test_an_error_out_of_range_is_refused(error: float) -> None:
    with pytest.raises(ValueError, match="alignment_jitter="):
        AlignmentJitter(error, template)
