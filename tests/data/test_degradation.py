import cv2
import numpy as np
import pytest
import torch

from btnet.data import degradation as module
from btnet.data.degradation import Degradation
from btnet.images.resize import resize
from btnet.synthetic.faces import SyntheticFaces

FACES = SyntheticFaces(4, 3)
IMAGES = torch.from_numpy(np.stack([FACES[i][0] for i in range(12)])).permute(0, 3, 1, 2)
KEYS = torch.arange(12) * 77


def test_no_share_changes_nothing_and_the_whole_share_everything() -> None:
    none = Degradation(0.0, resolution=14)(IMAGES, KEYS, 3)
    assert torch.equal(none, IMAGES)
    assert none.data_ptr() != IMAGES.data_ptr()
    every = Degradation(1.0, resolution=14)(IMAGES, KEYS, 3)
    assert bool((every != IMAGES).flatten(1).any(1).all())


def test_the_share_is_kept_and_the_others_stay() -> None:
    some = Degradation(0.3, resolution=14, seed=2)
    assert float(some.chosen(torch.arange(50_000), 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    changed = (some(IMAGES, KEYS, 1) != IMAGES).flatten(1).any(1)
    assert torch.equal(changed, some.chosen(KEYS, 1))
    assert 0 < int(changed.sum()) < 12


def test_a_face_is_degraded_alike_in_any_batch_and_anew_in_each_epoch() -> None:
    degrade = Degradation(0.8, resolution=14, seed=2)
    together = degrade(IMAGES, KEYS, 1)
    alone = torch.cat([degrade(IMAGES[i : i + 1], KEYS[i : i + 1], 1) for i in range(12)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, degrade(IMAGES, KEYS, 2))


def test_the_mildest_camera_is_shrinking_and_enlarging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, ends in {
        "GAMMA": (1.0, 1.0),
        "BLUR": (0.0, 0.0),
        "NOISE": (0.0, 0.0),
        "QUALITY": (100, 100),
    }.items():
        monkeypatch.setattr(module, name, ends)
    monkeypatch.setattr(module, "OVERSAMPLING", (2,))
    found = Degradation(1.0, resolution=28)(IMAGES, KEYS, 0)
    expected = resize(resize(IMAGES, 56), 112)
    assert (
        float((found.int() - expected.int()).abs().float().mean()) < 1.5
    )  # quality 100 still rounds, and halves chroma


def test_blur_is_opencvs_gaussian() -> None:
    sigma = torch.tensor([0.7, 2.0, 6.5])
    found = module._blurred(IMAGES[:3], sigma)
    for image, blurred, deviation in zip(IMAGES[:3], found, sigma.tolist(), strict=True):
        expected = cv2.GaussianBlur(
            image.permute(1, 2, 0).numpy(), (0, 0), deviation, borderType=cv2.BORDER_REPLICATE
        )
        assert np.abs(blurred.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 2
    flat = torch.full((2, 3, 20, 20), 77, dtype=torch.uint8)
    assert torch.equal(module._blurred(flat, torch.tensor([0.0, 3.0])), flat)
    assert torch.equal(module._blurred(IMAGES[:1], torch.tensor([0.0])), IMAGES[:1])


def test_a_tone_curve_keeps_black_and_white() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    [darker] = module._toned(levels, torch.tensor([1.4], dtype=torch.float64)).flatten(1)
    assert torch.equal(module._toned(levels, torch.tensor([1.0], dtype=torch.float64)), levels)
    assert darker[[0, 255]].tolist() == [0, 255]
    assert int(darker[128]) == round(255 * (128 / 255) ** 1.4)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="degradation="):
        Degradation(share, resolution=14)
