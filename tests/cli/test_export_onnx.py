"""`btnet export-onnx`: a file per network, a line per file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from btnet import BTNet, load_trunk
from btnet.backbones.iresnet import IResNet
from btnet.cli import main
from btnet.interop import check_onnx
from btnet.serving.onnx_folder import bundle_networks
from btnet.serving.onnx_session import open_session


def tiny() -> IResNet:
    torch.manual_seed(0)
    return IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = BTNet(tiny(), (8, 4), interpolation="area")
    with torch.no_grad():
        for parameter in (*model.learnt_parameters(8).values(), *model.learnt_parameters(4).values()):
            parameter.mul_(1.1)
    model.save(tmp_path / "run")
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
        "--output",
        str(out),
        "--resolutions",
        "32",
        "8",
        "8",
        "--input-size",
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
    "options",
    [[], ["--precision", "fp16"], pytest.param(["--input-size", "32"], marks=pytest.mark.nightly)],
)
def test_a_bundle_is_written_whole_and_says_what_it_takes(
    folder: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-onnx", str(folder), "--bundle", *options]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    networks = bundle_networks(folder / "onnx")
    sizes = {
        path.name: path.stat().st_size for path in (folder / "onnx").iterdir() if path.name != "btnet.json"
    }
    assert [line.split(": ")[0] for line in lines[:3]] == [str(path) for path in networks.values()]
    assert sorted(line.split(":")[0].strip() for line in lines[3:]) == sorted(sizes)
    assert last == f"bundle: {sum(sizes.values()) / 1e6:.1f} MB"
    for size, path in networks.items():
        session = open_session(path)
        assert session.get_inputs()[0].shape[2] == (32 if options == ["--input-size", "32"] else size)
        assert check_onnx(path, BTNet.load(folder)) < (5e-3 if "fp16" in options else 1e-5)
    # Its files are not overwritten one by one: the bundle would be damaged.
    assert main(["export-onnx", str(folder)]) == 2
    assert "holds a bundle" in capsys.readouterr().err


def test_a_bundle_needs_a_trunk_and_all_of_its_branches(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tiny().state_dict(), tmp_path / "trunk.pt")
    assert main(["export-onnx", str(tmp_path / "trunk.pt"), "--bundle"]) == 2
    assert main(["export-onnx", str(folder), "--bundle", "--resolutions", "8"]) == 2
    assert main(["export-onnx", str(folder), "--bundle", "-o", str(folder)]) == 2
    err = capsys.readouterr().err
    assert err.count("--bundle is for a trunk and all its branches") == 2
    assert "holds the manifest of a run" in err
    assert not list(folder.glob("*.onnx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resolutions", "8", "9"], "--resolutions 9: {} has networks for 32, 8, 4 px"),
        (["--input-size", "0"], "input size 0 px"),
    ],
)
def test_mistakes_are_answered_in_a_line_before_a_file_is_written(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-onnx", str(folder), "--output", str(tmp_path / "out"), *options]) == 2
    err = capsys.readouterr().err
    assert message.format(folder) in err
    assert err.count("\n") == 1
    assert not list(tmp_path.glob("out/*"))
