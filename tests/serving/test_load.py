"""`btnet.load`: a folder or the Hub's cache, faces of every kind, and the whole package copied."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import btnet
from btnet import BTNet
from btnet.backbones.iresnet import IResNet
from btnet.inference import Recognizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    trunk = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), input_size=32, canonical_size=32, embedding_size=8)
    place = tmp_path_factory.mktemp("model") / "cameras"
    BTNet(trunk.eval(), (8,)).save(place)
    return place


@pytest.fixture
def hub_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cache of the Hub that holds the model as `org/cameras`, and no network."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    place = tmp_path / "hub" / "models--org--cameras"
    shutil.copytree(folder, place / "snapshots" / "c0ffee")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return "org/cameras"


def test_a_model_of_the_hub_is_the_one_in_its_folder(folder: Path, hub_cache: str) -> None:
    face = np.random.default_rng(0).integers(0, 256, (11, 9, 3), np.uint8)
    here = btnet.load(folder, device="cpu")
    there: Recognizer = Recognizer.from_pretrained(hub_cache, device="cpu")
    assert np.array_equal(here.embed([face]), there.embed([face]))
    assert repr(here) == "Recognizer(cameras: IResNet, 32/8 px, not calibrated, cpu)"


def test_a_name_that_is_neither_a_folder_nor_on_the_hub_says_so(hub_cache: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"org/nothing: no such folder here, and not fetched"):
        btnet.load("org/nothing")
    with pytest.raises(FileNotFoundError, match=r"runs/a/b: no such model"):
        btnet.load("runs/a/b")


def test_faces_of_every_kind_and_order_are_the_same_faces(folder: Path, tmp_path: Path) -> None:
    model = btnet.load(folder, device="cpu")
    draw = np.random.default_rng(1)
    small, large = (draw.integers(0, 256, (side, side, 3), np.uint8) for side in (7, 40))
    Image.fromarray(small).save(tmp_path / "small.png")
    expected = model.embed([small, large, small, small])
    mixed = [tmp_path / "small.png", torch.from_numpy(large).permute(2, 0, 1), Image.fromarray(small), small]
    assert np.allclose(model.embed(mixed), expected, atol=1e-6)
    assert np.allclose(model.embed([str(tmp_path / "small.png")]), expected[:1], atol=1e-6)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.allclose(model.embed(mixed, normalise=True), expected / lengths, atol=1e-6)


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ("door.jpg", "one str; give a list"),
        (Image.new("RGB", (9, 9)), "one Image; give a list"),
        (torch.zeros(3, 9, 9, dtype=torch.uint8), "one Tensor"),
        ([torch.zeros(3, 9, 9)], r"face 0 is a tensor torch.float32 \[3, 9, 9\]"),
        ([np.zeros((9, 9, 3), np.uint8), 4], "face 1 is a int"),
    ],
)
def test_what_is_no_list_of_faces_is_named(folder: Path, faces: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        btnet.load(folder, device="cpu").embed(faces)  # type: ignore[arg-type]


def test_a_saved_model_is_whole_and_nothing_is_replaced_unasked(folder: Path, tmp_path: Path) -> None:
    (folder / "notes.txt").write_text("not of the model")
    model = btnet.load(folder, device="cpu")
    model.save_pretrained(tmp_path / "copy")
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {
        "btnet.json", "model.pt", "overlay_r8.safetensors",
    }  # fmt: skip
    assert btnet.load(tmp_path / "copy").trunk_fingerprint == model.trunk_fingerprint
    with pytest.raises(FileExistsError):
        model.save_pretrained(tmp_path / "copy")
    (tmp_path / "copy" / "overlay_r8.safetensors").write_bytes(b"another")
    with pytest.raises(ValueError, match="overlay_r8"):
        btnet.load(tmp_path / "copy")
