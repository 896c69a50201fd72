import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from btnet.images.codec import decode_image, encode_jpeg
from btnet.images.jpeg import jpeg, quantisation
from btnet.synthetic.faces import SyntheticFaces

FACES = SyntheticFaces(3, 2)
IMAGES = torch.from_numpy(np.stack([FACES[i][0] for i in range(6)])).permute(0, 3, 1, 2)


def of_opencv(images: Tensor, quality: int) -> Tensor:
    stored = [decode_image(encode_jpeg(image.permute(1, 2, 0).numpy(), quality), "test") for image in images]
    return torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
@pytest.mark.parametrize("size", [112, 50])
def test_it_takes_away_what_libjpeg_takes_away(quality: int, size: int) -> None:
    images = IMAGES[:, :, :size, :size].contiguous()
    found = jpeg(images, torch.full((6,), quality)).int()
    expected = of_opencv(images, quality).int()
    lost = (expected - images).abs().float().mean()
    between = (found - expected).abs().float().mean()
    assert float(between) < max(0.3 * float(lost), 0.5)
    assert float((found - images).abs().float().mean()) == pytest.approx(float(lost), rel=0.15, abs=0.2)


@pytest.mark.parametrize("quality", [1, 30, 50, 90, 100])
def test_tables_are_those_opencv_writes(quality: int) -> None:
    data = np.frombuffer(encode_jpeg(FACES[0][0], quality), np.uint8).tobytes()
    at = data.index(b"\xff\xdb")
    zigzag = torch.tensor(list(data[at + 5 : at + 5 + 64]))
    rows = [(i, j) for s in range(15) for i, j in _diagonal(s)]
    found = quantisation(torch.tensor([quality]))[0][0]
    assert torch.equal(torch.stack([found[i, j] for i, j in rows]).long(), zigzag)


def _diagonal(s: int) -> list[tuple[int, int]]:
    cells = [(i, s - i) for i in range(8) if 0 <= s - i < 8]
    return cells if s % 2 else cells[::-1]


def test_each_image_has_its_own_quality_and_place_whatever_its_batch() -> None:
    small = IMAGES[:, :, ::8, ::8].contiguous()
    quality, phase = (
        torch.tensor([10, 30, 50, 70, 90, 100]),
        torch.tensor([[i, 15 - 2 * i] for i in range(6)]),
    )
    together = jpeg(small, quality, phase)
    alone = torch.cat([jpeg(small[i : i + 1], quality[i : i + 1], phase[i : i + 1]) for i in range(6)])
    assert torch.equal(together, alone)
    errors = (together.int() - small.int()).abs().float().mean((1, 2, 3))
    assert float(errors[5]) < 4 < float(errors[0])
    assert not torch.equal(together, jpeg(small, quality))


def test_a_phase_is_where_the_image_lies_in_its_frame() -> None:
    flat = cv2.copyMakeBorder(FACES[0][0][:32, :32], 3, 13, 5, 11, cv2.BORDER_REPLICATE)
    frame = torch.from_numpy(flat).permute(2, 0, 1)[None]
    whole = jpeg(frame, torch.tensor([40]))[:, :, 3:35, 5:37]
    found = jpeg(frame[:, :, 3:35, 5:37], torch.tensor([40]), torch.tensor([[3, 5]]))
    assert torch.equal(found, whole)


def test_a_quality_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="from 1 to 100"):
        jpeg(IMAGES[:1], torch.tensor([0]))
