"""`btnet convert-trunk`: a checkpoint of another repository in, a trunk of arcface_torch's format out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from btnet import BTNet, load_trunk
from btnet.backbones.state import fingerprint
from btnet.backbones.unmeasured import unmeasured_norms
from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.model_folder.manifest import read_manifest
from btnet.serving.loading import load_model
from foreign_networks import AdaFaceIR, ForeignIR, randomised

FACES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
X = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def save_adaface(path: Path) -> AdaFaceIR:
    network = randomised(AdaFaceIR())
    assert isinstance(network, AdaFaceIR)
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, path)
    return network


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("output", ["new/model.pt", "trunk.safetensors", "folder"])
def test_a_trunk_is_written_that_arcface_torch_loads_and_that_says_where_it_comes_from(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = save_adaface(tmp_path / "adaface.ckpt")
    path = tmp_path / output
    assert main(["convert-trunk", str(tmp_path / "adaface.ckpt"), "-o", str(path), "--licence", "MIT"]) == 0
    out = capsys.readouterr().out
    assert f"{path}: IResNet, blocks (2, 1, 3, 1)" in out
    assert "1 BatchNorms have no statistics: before the trunk itself trains on, convert again" in out
    assert "repository: AdaFace; file: adaface.ckpt; colour order: BGR; licence: MIT" in out
    with torch.no_grad():
        unit, norm = network(X.flip(1))
        trunk = load_trunk(path)
        assert error(trunk(X), unit * norm) < 1e-5
    assert trunk.origin["licence"] == "MIT"
    assert load_model(path).fingerprint(32) == fingerprint(trunk.state_dict())
    if path.is_dir():
        assert read_manifest(path)["trunk_origin"] == trunk.origin
    # Others load the keys strictly, and see nothing of the record.
    file = path / "model.pt" if path.is_dir() else path
    plain = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    assert trunk.fresh().load_state_dict(plain, strict=True)
    # A branch's folder goes on saying it.
    BTNet(trunk, (8,)).save(tmp_path / "branches")
    assert read_manifest(tmp_path / "branches")["trunk_origin"]["repository"] == "AdaFace"
    assert BTNet.load(tmp_path / "branches").trunk.origin == trunk.origin


def test_norms_that_face_evolve_has_not_are_measured_on_faces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = randomised(ForeignIR(norm_between=False, affine=True))
    torch.save(network.state_dict(), tmp_path / "x.pth")
    write_bin(tmp_path / "faces.bin", FACES, [True, False] * 8)
    argv = ["convert-trunk", str(tmp_path / "x.pth")]
    assert main([*argv, "-o", str(tmp_path / "a.pt")]) == 0
    assert "7 BatchNorms have no statistics: before branches train, convert again" in capsys.readouterr().out
    # What was converted without faces can be measured later.
    again = ["convert-trunk", str(tmp_path / "a.pt"), "--faces", str(tmp_path / "faces.bin")]
    assert main([*again, "-o", str(tmp_path / "b.pt")]) == 0
    assert "8 BatchNorms that the network had not, measured on faces" in capsys.readouterr().out
    measured = load_trunk(tmp_path / "b.pt")
    assert len(unmeasured_norms(load_trunk(tmp_path / "a.pt"))) == 8
    assert not unmeasured_norms(measured)
    with torch.no_grad():
        assert error(measured(X), network(X)) < 1e-5
    assert measured.origin["repository"] == "face.evoLVe"


def test_branches_of_a_trunk_with_unmeasured_norms_are_refused_before_the_first_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(randomised(ForeignIR(112, norm_between=False, affine=True)).state_dict(), tmp_path / "x.pth")
    keys = {
        "rec": "synthetic:4:2", "trunk": tmp_path / "x.pth", "output": tmp_path / "run", "branches": [14],
        "batch_size": 4,
    }  # fmt: skip
    argv = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    assert main(["train", "configs/retrofit_r14", *argv]) == 2
    err = capsys.readouterr().err
    assert "x.pth: 7 BatchNorms without statistics (layer1.0.bn2 ...)" in err
    assert f"btnet convert-trunk {tmp_path / 'x.pth'} --faces SET -o measured.pt" in err


def test_what_must_be_stated_and_what_cannot_be_read_is_answered_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(randomised(ForeignIR()).state_dict(), tmp_path / "bare.pt")
    torch.save(
        {"net.patch_embed.proj.weight": torch.ones(1), "net.blocks.0.attn.qkv.weight": torch.ones(1)},
        tmp_path / "vit.pt",
    )
    output = tmp_path / "out.pt"
    for name in ("bare.pt", "vit.pt", "none.pt"):
        assert main(["convert-trunk", str(tmp_path / name), "-o", str(output)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert "state the colour order it was trained on (`btnet convert-trunk --colour-order`)" in err[0]
    assert "vit.pt: a ViT, expected an IResNet or a MobileFaceNet" in err[1]
    assert "none.pt: no such trunk file" in err[2]
    assert len(err) == 3
    assert not output.exists()
    assert main(["convert-trunk", str(tmp_path / "bare.pt"), "-o", str(output), "--colour-order", "RGB"]) == 0
    assert main(["model-cost", str(output), "--resolutions", "8"]) == 0


def test_labelled_faces_say_that_the_colours_cannot_be_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = save_adaface(tmp_path / "x.ckpt")
    assert network.training is False
    argv = ["convert-trunk", str(tmp_path / "x.ckpt"), "-o", str(tmp_path / "x.pt")]
    assert main([*argv, "--labelled", "synthetic:12:4"]) == 0
    assert "BGR, (x - 127.5) / 127.5 " in capsys.readouterr().out
