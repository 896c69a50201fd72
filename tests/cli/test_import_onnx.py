"""`btnet import-onnx`: a recognition ONNX in, a trunk file out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from btnet import load_trunk
from btnet.backbones.state import fingerprint
from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.images.codec import encode_png
from btnet.interop import check_onnx, export_onnx
from btnet.interop.onnx_bundle import export_bundle
from btnet.model_folder.manifest import read_manifest
from onnx_models import change_weight, exported_iresnet, iresnet, trained, with_branches

FACES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
X = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def faces(tmp_path: Path) -> list[str]:
    write_bin(tmp_path / "faces.bin", FACES, [True, False] * 8)
    return ["--faces", str(tmp_path / "faces.bin"), "--input-size", "32"]


def test_a_merged_file_becomes_a_trunk_with_the_same_embeddings(
    faces: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "x.onnx", tmp_path / "new" / "model.pt"
    export_onnx(trained(iresnet(), X), path)
    assert main(["import-onnx", str(path), *faces, "--num-faces", "20", "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert f"{output}: IResNet, " in out
    assert "merged BatchNorms restored with 20 faces" in out
    assert check_onnx(path, load_trunk(output)) < 1e-4
    # A branch for a trunk out of ONNX: what the import is for.
    assert main(["model-cost", str(output), "--resolutions", "8"]) == 0


def test_the_trunk_of_a_bundle_comes_back_bit_by_bit_without_faces(tmp_path: Path) -> None:
    model = with_branches(trained(iresnet(), X), 8)
    bundle = export_bundle(model, tmp_path / "bundle")
    output = tmp_path / "model.pt"
    assert main(["import-onnx", str(bundle[32]), "-o", str(output)]) == 0
    assert fingerprint(load_trunk(output).state_dict()) == model.trunk_fingerprint()


def test_bad_input_is_answered_in_a_line_and_leaves_no_file(
    faces: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "x.onnx", tmp_path / "model.pt"
    export_onnx(trained(iresnet(), X), path)
    argv = ["import-onnx", str(path), "-o", str(output)]
    assert main(argv) == 2
    assert main([*argv, "--faces", str(tmp_path / "nothing.rec")]) == 2
    assert main([*argv, *faces, "--input-size", "16"]) == 2
    path.write_bytes(path.read_bytes()[:1000])
    assert main([*argv, *faces]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 4
    assert "restoring them takes faces" in err[0]
    assert "nothing.rec" in err[1]
    assert "image 0 is 32 x 32 px" in err[2]
    assert "x.onnx: not a whole ONNX file" in err[3]
    assert not output.exists()


def coloured_faces(folder: Path) -> str:
    """Red tells who it is; green and blue are noise."""
    generator = np.random.default_rng(0)
    for person in range(16):
        (folder / f"person {person}").mkdir(parents=True)
        pattern = generator.integers(40, 216, (32, 32)).astype(float)
        for i in range(4):
            image = generator.integers(0, 256, (32, 32, 3))
            image[..., 0] = (pattern + generator.normal(0, 20, (32, 32))).clip(0, 255)
            (folder / f"person {person}" / f"{i}.png").write_bytes(encode_png(image.astype(np.uint8)))
    return str(folder)


def test_labelled_faces_bear_a_stated_convention_out_or_refuse_it_and_it_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "x.onnx", tmp_path / "model.pt"
    _, model = exported_iresnet()
    change_weight(
        model, "conv1.weight", lambda weight: weight * np.array([1, 0, 0], np.float32)[:, None, None]
    )  # sees red alone
    del model.metadata_props[:]
    onnx.save(model, path)
    labelled = coloured_faces(tmp_path / "faces")
    argv = [
        "import-onnx",
        str(path),
        "--input-size",
        "32",
        "-o",
        str(output),
        "--input-mean",
        "127.5",
        "--input-std",
        "127.5",
    ]
    assert main([*argv, "--labelled", labelled, "--colour-order", "BGR"]) == 2
    assert "RGB, (x - 127.5) / 127.5 tells these people apart better than BGR" in capsys.readouterr().err
    assert not output.exists()
    assert main([*argv, "--labelled", labelled, "--colour-order", "RGB", "--licence", "MIT"]) == 0
    out = capsys.readouterr().out
    assert out.count("worse (difference -") >= 3  # every BGR
    assert load_trunk(output).origin == {
        "repository": "an ONNX file", "file": "x.onnx", "colour_order": "RGB", "input": "(x - 127.5) / 127.5",
        "licence": "MIT",
    }  # fmt: skip
    # Nothing is replaced unless asked.
    assert main([*argv, "--colour-order", "RGB"]) == 2
    assert (
        "model.pt: exists; replace it with --overwrite, or choose another output" in capsys.readouterr().err
    )
    assert main([*argv, "--colour-order", "RGB", "--overwrite"]) == 0


def test_what_labelled_faces_cannot_decide_is_said_and_refuses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.onnx"
    _, model = exported_iresnet()
    change_weight(
        model, "conv1.weight", lambda weight: weight.mean(1, keepdims=True).repeat(3, 1)
    )  # sees grey
    del model.metadata_props[:]
    onnx.save(model, path)
    labelled = coloured_faces(tmp_path / "faces")
    for order in ("RGB", "BGR"):
        argv = [
            "import-onnx",
            str(path),
            "--input-size",
            "32",
            "-o",
            str(tmp_path / order),
            "--labelled",
            labelled,
        ]
        assert main([*argv, "--input-mean", "127.5", "--input-std", "127.5", "--colour-order", order]) == 0
        assert f"cannot tell {order}, (x - 127.5) / 127.5 from " in capsys.readouterr().out
        assert read_manifest(tmp_path / order)["trunk_origin"]["colour_order"] == order
