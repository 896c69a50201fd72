"""One rule of what an aligned face is, wherever faces are read that a network shall see at a resolution."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from btnet.backbones.iresnet import IResNet
from btnet.cli import main
from btnet.data.aligned import need_aligned
from btnet.data.bin_sets import read_bin, write_bin
from btnet.data.pairs import read_pairs, sample_faces
from btnet.images.codec import encode_png
from btnet.method.btnet import BTNet
from btnet_lab.analysis import sample_faces as analysis_faces

SIZES = [(112, 96), (250, 250), (612, 912), (56, 56), (111, 112)]
READERS: dict[str, Callable[[str], object]] = {
    "pairs that are drawn": lambda spec: read_pairs(spec, 2),
    "calibration": lambda spec: sample_faces(spec, 4, size=112),
    "analysis": lambda spec: analysis_faces.sample_faces(spec, 4),
    "one face": lambda spec: analysis_faces.read_face(spec, 0),
}


def folder_of(root: Path, size: tuple[int, int]) -> Path:
    for name in ("ann/0", "ann/1", "bob/0", "bob/1", "cleo/0", "cleo/1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.png").write_bytes(encode_png(np.full((*size, 3), len(name), np.uint8)))
    return root


def bin_of(path: Path, size: tuple[int, int]) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (40, *size, 3), dtype=np.uint8)
    write_bin(path, images, [True, False] * 10)
    return path


@pytest.mark.parametrize("reader", READERS)
def test_whoever_reads_faces_takes_aligned_ones_and_refuses_others_by_name(
    reader: str, tmp_path: Path
) -> None:
    READERS[reader](str(folder_of(tmp_path / "aligned", (112, 112))))
    for size in SIZES:
        root = folder_of(tmp_path / f"{size}", size)
        with pytest.raises(
            ValueError, match=rf"\.png is {size[1]} x {size[0]} px, expected an aligned face of 112"
        ):
            READERS[reader](str(root))


@pytest.mark.parametrize("size", SIZES)
def test_a_verification_set_is_aligned_or_says_which_image_is_not(
    size: tuple[int, int], tmp_path: Path
) -> None:
    path = bin_of(tmp_path / "x.bin", size)
    assert read_bin(path)[0].shape == (40, *size, 3)
    with pytest.raises(
        ValueError, match=rf"x\.bin: image 0 is {size[1]} x {size[0]} px, expected an aligned face"
    ):
        read_bin(path, size=112)
    with pytest.raises(ValueError, match="expected an aligned face"):
        read_pairs(str(path), 2)


def test_a_network_of_another_size_takes_its_own_and_the_fields() -> None:
    for size in (32, 112):
        face = np.zeros((size, size, 3), np.uint8)
        assert need_aligned(face, "x", 32) is face
    with pytest.raises(ValueError, match="x is 32 x 32 px, expected an aligned face of 112 x 112"):
        need_aligned(np.zeros((32, 32, 3), np.uint8), "x")


def test_frames_are_not_scored_under_the_heading_of_a_resolution(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trunk = IResNet((1, 1, 1, 1), widths=(4, 4, 8, 8), canonical_size=32, embedding_size=8).eval()
    BTNet(trunk, resolutions=(8,)).save(tmp_path / "run")
    frames = bin_of(tmp_path / "frames.bin", (24, 36))
    argv = ["evaluate", str(tmp_path / "run"), "--bin", str(frames), "--device", "cpu", "--pairs"]
    for pairs in ("32-32", "32-8,native-native"):
        assert main([*argv, pairs]) == 2
        assert (
            "frames.bin: image 0 is 36 x 24 px, expected an aligned face of 32 x 32"
            in capsys.readouterr().err
        )
    assert main([*argv, "native-native"]) == 0
