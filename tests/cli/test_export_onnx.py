"""`btnet export-onnx`: a file per network, a line per file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from btnet import BTNet, load_trunk
from btnet.cli import main
from btnet.interop import check_onnx
from btnet.model.iresnet import IResNet


def tiny() -> IResNet:
    torch.manual_seed(0)
    return IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    BTNet(tiny(), (8, 4), interpolation="area").save(tmp_path / "run")
    return tmp_path / "run"


def test_each_network_becomes_a_checked_file_and_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-onnx", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    model = BTNet.load(folder)
    for line, size in zip(lines, (32, 8, 4), strict=True):
        path = folder / "onnx" / f"embed_r{size}.onnx"
        assert check_onnx(path, model.network(size)) < 1e-5
        pattern = r"(.+): 0\.0 MB, differs from torch by at most \de-\d\d|.+ ms per face at batch 1"
        assert re.match(pattern, line)
        assert line.startswith(f"{path}: ")
    assert len(list((folder / "onnx").iterdir())) == 3


def test_resolutions_folder_and_input_size_are_chosen(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    argv = [
        "export-onnx",
        str(folder),
        "--out",
        str(out),
        "--resolutions",
        "32",
        "8",
        "8",
        "--input",
        "32",
    ]
    assert main(argv) == 0
    assert sorted(path.name for path in out.iterdir()) == ["embed_r32.onnx", "embed_r8_from32.onnx"]
    # The resizing is the one the branch was trained with: the file and the model agree on it.
    assert check_onnx(out / "embed_r8_from32.onnx", BTNet.load(folder)) < 1e-5


def test_a_trunk_alone_is_exported_beside_its_file(tmp_path: Path) -> None:
    torch.save(tiny().state_dict(), tmp_path / "trunk.pt")
    assert main(["export-onnx", str(tmp_path / "trunk.pt")]) == 0
    [path] = (tmp_path / "onnx").iterdir()
    assert path.name == "embed_r32.onnx"
    assert check_onnx(path, load_trunk(tmp_path / "trunk.pt")) < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resolutions", "8", "9"], "--resolutions 9: {} has networks for 32, 8, 4 px"),
        (["--input", "0"], "input size 0 px"),
    ],
)
def test_mistakes_are_answered_in_a_line_before_a_file_is_written(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-onnx", str(folder), "--out", str(tmp_path / "out"), *options]) == 2
    err = capsys.readouterr().err
    assert message.format(folder) in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))
