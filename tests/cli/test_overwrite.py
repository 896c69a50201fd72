"""What was made before is not replaced unasked, by any command that writes a model or a gallery."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from btnet import BTNet
from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import write_weights
from btnet.cli import COMMANDS, main
from btnet.data.bin_sets import write_bin
from btnet.interop.onnx import export_onnx
from btnet.loss import save_classifier
from btnet.serving.gallery import Gallery
from btnet.training.config_file import load_config
from btnet.training.run import train
from btnet_lab.cli import COMMANDS as LAB_COMMANDS
from btnet_lab.cli import main as lab_main
from tiny_keys import TINY

CONFIGS = Path(__file__).parents[2] / "configs"
# They write measurements, pages, pictures or data sets; what they write can be had again.
WITHOUT = {
    "analyse", "check-compatibility", "configs", "demo", "evaluate", "evidence", "head-memory", "ijbc", "index-shards",
    "make-bin", "make-rec", "model-cost", "native-test", "report", "scface", "survface", "tinyface",
}  # fmt: skip
FORMER = b"what was made before"


def network() -> IResNet:
    torch.manual_seed(0)
    return IResNet(
        (1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8
    ).eval()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of all commands."""
    folder = tmp_path_factory.mktemp("place")
    BTNet(network(), (8,)).save(folder / "run")
    write_weights(folder / "trunk.pt", network().state_dict())
    (folder / "faces").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (32, 32)).save(folder / "faces" / f"{name}.png")
    save_classifier(
        folder / "c.safetensors",
        torch.ones(2, 8),
        ["a", "b"],
        trunk_fingerprint="t",
        data_fingerprint="d",
    )
    (folder / "shards").mkdir()
    export_onnx(network().rebuild(8), folder / "r8.onnx")
    write_bin(folder / "pairs.bin", np.zeros((2, 8, 8, 3), np.uint8), [True])
    return folder


# Command line; what lies where it would write.
WRITERS = {
    "embed faces --model run -o g.npz": "g.npz",
    "build-classifier trunk.pt synthetic:2:1 -o p.safetensors": "p.safetensors",
    "convert-classifier shards --faces synthetic:2:1 --trunk trunk.pt -o q.safetensors": "q.safetensors",
    "convert-classifier c.safetensors --ranks 2 -o shards": "shards/checkpoint_gpu_3.pt",
    "convert-authors trunk.pt --branch 8=trunk.pt -o in": "in/btnet.json",
    "convert-authors run -o out": "out/reso8/model.pt",
    "export-checkpoint run -o checkpoints": "checkpoints/branch_8.pt",
    "export-onnx run": "run/onnx/embed_r8.onnx",
    "export-onnx run --precision fp16 -o half": "half/embed_r32_fp16.onnx",
    "export-onnx run --bundle -o bundle": "bundle/embed_r32.onnx",
    "export-insightface run -o package": "package/manifest.json",
    "import-onnx x.onnx -o imported.pt": "imported.pt",
    "convert-trunk trunk.pt -o converted.pt": "converted.pt",
    "quantise-onnx r8.onnx pairs.bin --bin pairs.bin": "r8_int8.onnx",
    "fit-selector --faces synthetic:2:1 -o s.json": "s.json",
    "adapt-camera run faces -o camera": "camera/btnet.json",
    "retrofit trunk.pt faces -o cameras": "cameras",
}


@pytest.mark.parametrize("words", WRITERS)
def test_what_is_there_is_refused_before_the_work_begins_and_stays(
    words: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    path = Path(WRITERS[words])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FORMER)
    program = lab_main if words.split()[0] in LAB_COMMANDS else main
    try:
        assert program(words.split()) == 2
        error = capsys.readouterr().err
        assert error.endswith(f"{path}: exists; replace it with --overwrite, or choose another output\n")
        assert path.read_bytes() == FORMER
    finally:
        path.unlink()


def test_every_command_that_writes_a_model_has_the_option() -> None:
    """A new command with an output has it and is tried above, or is listed here for what it writes instead."""
    without, having = set(), set()
    for command, module in {**COMMANDS, **LAB_COMMANDS}.items():
        parser = argparse.ArgumentParser()
        importlib.import_module(module).add_arguments(parser)
        words = {word for action in parser._actions for word in action.option_strings}
        if "--overwrite" in words:
            having.add(command)
        elif "--output" in words:
            without.add(command)
    assert without <= WITHOUT
    # align needs a detector: tests/detection tries it.
    assert {words.split()[0] for words in WRITERS} == having - {"align"}


@pytest.mark.parametrize(
    "words",
    [
        "embed faces --model run -o g.npz",
        "convert-classifier c.safetensors --ranks 2 -o shards",
        "export-checkpoint run -o checkpoints",
        "convert-authors run -o out",
    ],
)
def test_with_the_option_it_is_replaced(words: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    path = Path(WRITERS[words])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(FORMER)
    assert main([*words.split(), "--overwrite"]) == 0
    assert not path.exists() or path.read_bytes() != FORMER
    if "shards" in words:  # the shards of four ranks are gone, those of two are there
        assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint_gpu_0.pt", "checkpoint_gpu_1.pt"]


def test_a_gallery_is_not_replaced_by_a_part_of_the_next(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    faces, output = tmp_path / "faces", tmp_path / "g.npz"
    faces.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.full((32, 32, 3), 7, np.uint8)).save(faces / f"{name}.png")
    embed = ["embed", str(faces), "--model", str(place / "run"), "-o", str(output)]
    assert main(embed) == 0
    whole = output.read_bytes()
    (faces / "b.png").write_bytes(b"damaged")
    assert main([*embed, "--overwrite"]) == 3
    assert output.read_bytes() == whole
    error = capsys.readouterr().err
    assert "1 of 3 files could not be read" in error
    assert f"{output}: kept as it was" in error
    assert main([*embed, "--overwrite", "--skip-unreadable"]) == 3
    assert Gallery.load(output).names == ("a.png", "c.png")
    # A new file takes the part, as ever: the status says so.
    assert main([*embed[:-1], str(tmp_path / "new.npz")]) == 3
    assert len(Gallery.load(tmp_path / "new.npz")) == 2
    for name in ("a", "c"):
        (faces / f"{name}.png").write_bytes(b"damaged")
    assert main([*embed, "--overwrite", "--skip-unreadable"]) == 2
    assert len(Gallery.load(output)) == 2


def test_a_gallery_under_another_ending_is_refused_before_the_faces_are_read(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["embed", str(place / "faces"), "--model", str(tmp_path / "none"), "-o", str(tmp_path / "g.json")]
    assert main(words) == 2
    assert "name the gallery file *.npz" in capsys.readouterr().err


def test_a_finished_run_is_trained_anew_only_where_it_may_be_overwritten(tmp_path: Path) -> None:
    keys = [*TINY, "num_epoch=1", "warmup_epoch=0", "device=cpu", f"output={tmp_path}"]

    def run(*more: str) -> Path:
        return train(load_config(CONFIGS / "demo_hr", [*keys, *more]))

    run()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(FileExistsError, match=r"btnet\.json: exists; replace it with --set overwrite=True"):
        run("seed=1")
    assert not (tmp_path / "checkpoints").exists()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    run("seed=1", "overwrite=True")
    assert (tmp_path / "model.pt").read_bytes() != before["model.pt"]
    (tmp_path / "btnet.json").unlink()  # the trunk of somebody else
    with pytest.raises(FileExistsError, match=r"model\.pt: exists"):
        run("resume=True")
