"""ONNX files beside a model are the networks that it has now, or they are not served."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from btnet import BTNet
from btnet.backbones.iresnet import IResNet
from btnet.cli import main
from btnet.inference import Recognizer
from btnet.interop.onnx import export_onnx


def model(resolutions: tuple[int, ...] = (8, 4), training: int = 0) -> BTNet:
    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8)
    made = BTNet(trunk.eval(), resolutions)
    generator = torch.Generator().manual_seed(training)
    with torch.no_grad():
        for r in resolutions:
            for value in made.learnt_parameters(r).values():
                value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return made.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one training, with its ONNX files."""
    run = tmp_path_factory.mktemp("run")
    model().save(run)
    assert main(["export-onnx", str(run)]) == 0
    return run


@pytest.fixture
def run(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "run"))


def crops() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in (4, 8, 20, 32)]


def lowest_cosine(folder: Path, other: Path) -> float:
    """Between what the two backends say of faces of all sizes."""
    one, two = (
        Recognizer.load(path, backend).embed(crops())
        for path, backend in ((folder, "torch"), (other, "onnxruntime"))
    )
    cosine = (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
    return float(cosine.min())


def test_both_backends_of_a_folder_say_the_same(run: Path) -> None:
    assert lowest_cosine(run, run) > 0.99999
    assert lowest_cosine(run, run / "onnx") > 0.99999


@pytest.mark.parametrize("given", ["", "onnx"])
def test_files_of_a_branch_that_was_trained_again_are_refused(run: Path, given: str) -> None:
    model(training=1).save(run)
    with pytest.raises(ValueError, match=r"embed_r\d\.onnx: of another training than .*overlay_r\d"):
        Recognizer.load(run / given, "onnxruntime")


def test_files_that_were_exported_again_are_served_and_the_others_still_refused(run: Path) -> None:
    again = model(training=1)
    again.load_overlay(model().overlay(4))  # of the two branches one was trained again
    again.save(run)
    assert main(["export-onnx", str(run), "--resolutions", "8"]) == 2  # it is there
    assert main(["export-onnx", str(run), "--resolutions", "8", "--overwrite"]) == 0
    assert lowest_cosine(run, run) > 0.99999
    model(training=1).save(run)
    with pytest.raises(ValueError, match=r"embed_r4\.onnx: of another training than .*overlay_r4"):
        Recognizer.load(run, "onnxruntime")


def test_one_file_of_another_training_among_the_right_ones_is_refused(run: Path) -> None:
    path = run / "onnx" / "embed_r8.onnx"
    former = path.read_bytes()
    export_onnx(model(training=1), path, resolution=8)
    with pytest.raises(ValueError, match=r"embed_r8\.onnx: not the file that btnet\.json lists"):
        Recognizer.load(run, "onnxruntime")
    path.write_bytes(former)
    assert lowest_cosine(run, run) > 0.99999


def test_files_that_are_not_listed_are_known_by_the_fingerprint_of_their_network(run: Path) -> None:
    model().save(run)  # lists no ONNX files
    assert lowest_cosine(run, run) > 0.99999
    for size in (4, 8):
        changed = model()
        with torch.no_grad():
            next(iter(changed.learnt_parameters(size).values())).mul_(1.001)
        changed.save(run)
        with pytest.raises(ValueError, match=rf"embed_r{size}\.onnx: of another training"):
            Recognizer.load(run, "onnxruntime")


def test_a_file_for_a_branch_that_the_model_does_not_have_is_left_out(run: Path) -> None:
    model(resolutions=(8, 4)).save(run)
    one = model(resolutions=(8,))
    one.load_overlay(model().overlay(8))
    one.save(run)
    with pytest.warns(UserWarning, match=r"embed_r4\.onnx: .* has no branch for 4 px, left out"):
        served = Recognizer.load(run, "onnxruntime")
    assert served.resolutions == Recognizer.load(run).resolutions == (32, 8)


def test_a_network_that_was_not_exported_is_told(run: Path) -> None:
    (run / "onnx" / "embed_r4.onnx").unlink()
    with pytest.warns(UserWarning, match="no ONNX file for 4 px"):
        assert Recognizer.load(run, "onnxruntime").resolutions == (32, 8)


def test_a_bundle_beside_a_branch_that_was_trained_again_is_refused(tmp_path: Path) -> None:
    model((8,)).save(tmp_path)
    assert main(["export-onnx", str(tmp_path), "--bundle"]) == 0
    assert lowest_cosine(tmp_path, tmp_path) > 0.99999
    model((8,)).save(tmp_path)  # lists no bundle: its networks are compared
    assert lowest_cosine(tmp_path, tmp_path) > 0.99999
    model((8,), training=1).save(tmp_path)
    with pytest.raises(ValueError, match=r"embed_r8\.onnx: of another training"):
        Recognizer.load(tmp_path, "onnxruntime")


def test_half_precision_is_served_where_there_is_no_full_one(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    words = ["export-onnx", str(run), "--precision", "fp16", "--resolutions", "32", "8", "-o", str(half)]
    assert main(words) == 0
    assert sorted(path.name for path in half.iterdir()) == ["embed_r32_fp16.onnx", "embed_r8_fp16.onnx"]
    shutil.copy(run / "onnx" / "embed_r4.onnx", half)
    assert 0.999 < lowest_cosine(run, half) < 1 - 1e-9
    for path in half.glob("*_fp16.onnx"):
        shutil.copy(path, run / "onnx")
    assert lowest_cosine(run, run) > 0.99999  # float32 goes first
    (run / "onnx" / "embed_r8.onnx").unlink()
    assert lowest_cosine(run, run) > 0.999
    assert Recognizer.load(run, "onnxruntime").resolutions == (32, 8, 4)
