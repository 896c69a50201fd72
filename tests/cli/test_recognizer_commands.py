"""`btnet embed`, `compare`, `search` and `check-compatibility` from files to exit status."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from btnet.cli import main
from btnet.data.bin_sets import write_bin
from btnet.data.faces import open_faces
from btnet.images.codec import encode_jpeg
from btnet.inference import Recognizer
from btnet.serving.gallery import Gallery
from tiny_models import crops_of, tiny_btnet, tiny_trunk


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    tiny_btnet(resolutions=(14,)).save(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Every kind of file a user may have in a folder."""
    folder = tmp_path / "faces"
    (folder / "b").mkdir(parents=True)
    small, large = crops_of([(13, 9), (80, 100)])
    Image.fromarray(small).save(folder / "b" / "small.png")
    Image.fromarray(small).convert("L").save(folder / "grey.png")
    Image.fromarray(small).convert("RGBA").save(folder / "rgba.png")
    cv2.imwrite(str(folder / "deep.png"), small[:, :, ::-1].astype(np.uint16) * 257)
    Image.fromarray(large).convert("CMYK").save(folder / "cmyk.jpg", quality=100)
    Image.fromarray(small).save(folder / ".hidden.png")
    (folder / "notes.txt").write_text("no face")
    return folder


def test_a_folder_becomes_a_gallery(
    run_folder: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = faces.parent / "g.npz"
    assert main(["embed", str(faces), "-o", str(output), "--model", str(run_folder), "--device", "cpu"]) == 0
    gallery = Gallery.load(output)
    assert gallery.names == ("b/small.png", "cmyk.jpg", "deep.png", "grey.png", "rgba.png")
    assert gallery.resolutions.tolist() == [14, 112, 14, 14, 14]
    assert "5 faces (4 at 14 px, 1 at 112 px)" in capsys.readouterr().out
    small, _ = crops_of([(13, 9), (80, 100)])
    grey = np.asarray(Image.fromarray(small).convert("L"))
    expected = Recognizer.load(run_folder, device="cpu").embed([small, small, grey, small])
    np.testing.assert_allclose(gallery.embeddings[[0, 2, 3, 4]], expected, rtol=1e-4, atol=1e-5)
    # CMYK as Pillow reads it, up to rounding.
    cmyk = np.asarray(Image.open(faces / "cmyk.jpg").convert("RGB"))
    [found] = gallery.search(Recognizer.load(run_folder, device="cpu").embed([cmyk]), k=1)
    assert found[0].name == "cmyk.jpg"
    assert found[0].score > 0.99


def test_unreadable_files_are_listed_at_the_end_and_the_rest_is_kept(
    run_folder: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (faces / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (faces / "empty.png").touch()
    Image.new("RGB", (2, 2)).save(faces / "tiny.png")
    output = faces.parent / "g.npz"
    assert main(["embed", str(faces), "-o", str(output), "--model", str(run_folder)]) == 3
    err = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in err[:3]] == ["unreadable"] * 3
    assert "broken.jpg: not a readable image (14 bytes, starting with ffd8ff" in err[0]
    assert err[0].endswith("; remove or replace it")
    assert "tiny.png is 2 x 2 px" in err[2]
    assert err[3] == "btnet: 3 of 8 files could not be read"
    assert len(Gallery.load(output)) == 5


def test_a_gallery_and_a_training_set_of_one_folder_hold_the_same_images(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, outside = tmp_path / "people", tmp_path / "outside"
    for folder in (root / "ann", outside):
        folder.mkdir(parents=True)
    face = encode_jpeg(np.full((112, 112, 3), 99, np.uint8))
    for name in ("0.jpg", "1.jpe", "2.JFIF", "3", "4.jpg_large"):
        (root / "ann" / name).write_bytes(face)
        (outside / name).write_bytes(face)
    (root / "bob").symlink_to(outside, target_is_directory=True)
    (root / "ann" / "loop").symlink_to(root, target_is_directory=True)
    (root / "ann" / "5.tif").write_bytes(b"II*\0")
    (root / "ann" / "6.jpg").symlink_to("gone.jpg")
    embed = ["embed", str(root), "-o", str(tmp_path / "g.npz"), "--model", str(run_folder), "--device", "cpu"]
    told = []
    for argv in (embed, ["make-rec", str(root), "-o", str(tmp_path / "x.rec")]):
        assert main(argv) == 3
        told.append(capsys.readouterr().err.splitlines())
    assert told[0] == told[1]
    assert "2 images not taken: " in told[0][0]
    assert "1 TIFF, a kind that is not read (ann/5.tif)" in told[0][0]
    assert "1 a link to nowhere (ann/6.jpg)" in told[0][0]
    names = tuple(f"{person}/{name}" for person in ("ann", "bob") for name in sorted(os.listdir(outside)))
    assert Gallery.load(tmp_path / "g.npz").names == names
    assert len(open_faces(tmp_path / "x.rec")) == len(names)


def test_a_folder_without_a_face_makes_no_gallery(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    argv = ["embed", str(empty), "-o", str(tmp_path / "g.npz"), "--model", str(run_folder)]
    assert main(argv) == 2
    empty.mkdir()
    assert main(argv) == 2
    (empty / "a.jpg").write_bytes(b"no picture")
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert "not a folder" in err
    assert "no image (" in err
    assert "none of 1 images is readable; no gallery written" in err
    assert not (tmp_path / "g.npz").exists()


def test_a_probe_finds_itself_and_a_gallery_of_another_trunk_is_refused(
    run_folder: Path, faces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BTNET_MODEL", str(run_folder))
    first, other = faces.parent / "g.npz", faces.parent / "other.npz"
    assert main(["embed", str(faces), "-o", str(first)]) == 0
    assert main(["search", str(first), str(faces / "cmyk.jpg"), "-k", "2"]) == 0
    assert "1.0000 │ cmyk.jpg" in capsys.readouterr().out
    # One name in two galleries: the answer says in which.
    other_place = faces.parent / "elsewhere.npz"
    Gallery.load(first).save(other_place)
    assert main(["search", str(first), str(other_place), str(faces / "cmyk.jpg"), "-k", "2"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "cmyk.jpg │" in line]
    assert [row[4].strip() for row in rows] == [str(first), str(other_place)]
    torch.save(tiny_trunk(seed=1).state_dict(), faces.parent / "t.pt")
    trunk = ["--model", str(faces.parent / "t.pt")]
    assert main(["search", str(first), str(faces / "cmyk.jpg"), *trunk]) == 2
    assert main(["embed", str(faces), "-o", str(other), *trunk]) == 0
    assert main(["search", str(first), str(other), str(faces / "cmyk.jpg")]) == 2
    assert capsys.readouterr().err.count("scores across trunks mean nothing") == 2
    monkeypatch.delenv("BTNET_MODEL")
    assert main(["search", str(first), str(faces / "cmyk.jpg")]) == 2
    assert "no model: give --model" in capsys.readouterr().err


def test_compare_names_sizes_and_cosine(
    run_folder: Path, faces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = [str(faces / "b" / "small.png"), str(faces / "rgba.png")]
    assert main(["compare", *pair, "--model", str(run_folder)]) == 0
    out = capsys.readouterr().out
    assert "small.png: 13 x 9 px, embedded at 14 px" in out
    assert "\ncosine 1.0000\n" in out
    assert main(["compare", pair[0], "nothing.png", "--model", str(run_folder)]) == 2
    assert "nothing.png: no such image file" in capsys.readouterr().err


def test_exit_status_says_whether_a_model_is_compatible(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    issame = [row % 2 == 0 for row in range(40)]
    images = []
    for same in issame:
        one, two = (cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (112, 112)) for _ in "ab")
        images += [np.asarray(one, np.uint8), np.asarray(one if same else two, np.uint8)]
    write_bin(tmp_path / "p.bin", images, issame)
    model = str(run_folder)
    torch.save(tiny_trunk(seed=1).state_dict(), tmp_path / "new.pt")
    output = tmp_path / "c.json"

    def check(new: str, *options: str) -> int:
        argv = ["check-compatibility", model, new, str(tmp_path / "p.bin")]
        return main([*argv, "-o", str(output), "--device", "cpu", *options])

    assert check(model, "--resolutions", "112") == 0
    same = json.loads(output.read_text())
    assert (same["compatible"], same["identical"], same["difference"]) == (True, True, 0.0)
    # Nothing gained at 14 px: `>` is meant.
    assert check(model, "--resolutions", "14") == 1
    [criterion] = json.loads(output.read_text())["criteria"]
    assert criterion["new_old"] == criterion["old_old"]
    assert check(str(tmp_path / "new.pt")) == 1
    other = json.loads(output.read_text())
    assert not other["same_trunk"]
    assert other["difference"] > 0.01
    assert "NOT compatible" in capsys.readouterr().out
    assert check(str(tmp_path / "nothing")) == 2
