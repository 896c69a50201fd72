"""`btnet quantise-onnx`: an int8 file, and what it costs on pairs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.interop.onnx import export_onnx
from onnx_models import iresnet, trained, with_branches

FACES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of the trunk, of a branch and of a branch that shrinks inside; pairs."""
    torch.manual_seed(0)
    tmp_path = tmp_path_factory.mktemp("onnx")
    model = with_branches(trained(iresnet(), torch.rand(16, 3, 32, 32) * 2 - 1), 8)
    export_onnx(model, tmp_path / "r32.onnx", resolution=32)
    export_onnx(model, tmp_path / "r8.onnx", resolution=8)
    export_onnx(model, tmp_path / "r8_from32.onnx", resolution=8, input_size=32)
    write_bin(tmp_path / "pairs.bin", FACES, [True, False] * 10)
    return tmp_path


def quantise(folder: Path, name: str, *options: str) -> int:
    pairs = str(folder / "pairs.bin")
    return main(["quantise-onnx", str(folder / name), pairs, "--bin", pairs, *options])


def test_both_accuracies_and_the_cosine_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantise(folder, "r32.onnx") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [
        str(folder / "r32.onnx"),
        str(folder / "r32_int8.onnx"),
    ]
    assert re.search(r"mean 0\.\d{4}, lowest", lines[2])


def test_a_branch_is_scored_against_the_trunks_gallery_whether_it_shrinks_inside_or_not(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = []
    for name in ("r8.onnx", "r8_from32.onnx"):
        assert quantise(folder, name, "--gallery", str(folder / "r32.onnx")) == 0
        exact, quantised, _ = capsys.readouterr().out.splitlines()
        assert "at 8 px" in exact
        assert f"{Path(name).stem}_int8.onnx" in quantised
        accuracies.append(exact.split("accuracy")[1])
    assert accuracies[0] == accuracies[1]


def test_bad_input_is_answered_in_a_line_and_leaves_no_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.iterdir())
    (folder / "broken.onnx").write_bytes(b"no model")
    assert quantise(folder, "broken.onnx") == 2
    assert quantise(folder, "nothing.onnx") == 2
    assert quantise(folder, "r8.onnx", "--num-faces", "0", "--overwrite") == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 3
    assert "broken.onnx: onnxruntime cannot read it" in err[0]
    assert "nothing.onnx: no such ONNX file" in err[1]
    assert "0 faces: expected at least 1" in err[2]
    assert set(folder.iterdir()) - before == {folder / "broken.onnx"}
