"""The walk over folders of images: what is taken, what is not, and what is said of it."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from btnet.data.faces import FolderFaces, open_faces
from btnet.data.found_images import walk_images
from btnet.images.codec import encode_jpeg, encode_png
from btnet.public_sets.image_sets import list_images

FACE = np.full((112, 112, 3), 90, np.uint8)
JPEG, PNG = encode_jpeg(FACE), encode_png(FACE)
HEIC = b"\0\0\0\x18ftypheic" + bytes(40)


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_what_an_image_is_called_does_not_matter(tmp_path: Path) -> None:
    names = ["1.JPG", "2.jpe", "3.jfif", "4", "5.jpg_large", "6.tif", "n01.7", "a.PNG", "b.dat"]
    put(tmp_path, {f"ann/{name}": PNG if name[0] in "ab" else JPEG for name in names})
    found = walk_images(tmp_path)
    assert found.names == [f"ann/{name}" for name in sorted(names)]
    assert found.report() == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.gif", b"GIF89a" + bytes(40), "GIF, a kind that is not read"),
        ("1", b"GIF87a" + bytes(40), "GIF, a kind that is not read"),
        ("1.tif", b"II*\0" + bytes(40), "TIFF, a kind that is not read"),
        ("1.bak", b"MM\0*" + bytes(40), "TIFF, a kind that is not read"),
        ("IMG_1.heic", HEIC, "HEIF, a kind that is not read"),
        ("IMG_1", HEIC, "HEIF, a kind that is not read"),
        ("1.avif", b"\0\0\0\x18ftypavif" + bytes(40), "HEIF, a kind that is not read"),
        ("1.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000, a kind that is not read"),
        ("1.psd", b"8BPS" + bytes(40), "Photoshop, a kind that is not read"),
        ("1.ppm", b"P6 1 1 255 abc", "of a kind that is not read"),
        ("1.TIFF", b"", "of a kind that is not read"),
    ],
)
def test_an_image_that_is_not_taken_is_named_with_its_reason(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, f"ann/{name}": content})
    found = walk_images(tmp_path)
    assert found.names == ["ann/0.jpg"]
    assert dict(found.left_out) == {reason: [f"ann/{name}"]}
    assert not found.passed_over
    assert found.report() == [f"{tmp_path}: 1 images not taken: 1 {reason} (ann/{name})"]
    with pytest.raises(ValueError, match=r"1 images not taken: .*take them away"):
        found.need_all()


@pytest.mark.parametrize("name", [".0.jpg", ".cache", ".cache/0.jpg", "ann/._0.jpg", ".git/HEAD"])
def test_what_is_hidden_is_counted_and_not_entered(name: str, tmp_path: Path) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, name: JPEG})
    found = walk_images(tmp_path).need_all()
    assert (found.names, found.folders) == (["ann/0.jpg"], ["ann"])
    hidden = name.partition("/")[0] if name.startswith(".") else name
    assert found.report() == [f"{tmp_path}: 1 other files not taken: 1 hidden ({hidden})"]


@pytest.mark.parametrize("name", ["list.txt", "labels.json", "Thumbs.db", "empty", "a.mp4", "0.jpg.txt"])
def test_a_file_that_is_no_image_is_counted_and_costs_nothing(name: str, tmp_path: Path) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, name: b"" if name == "empty" else b"no picture" + bytes(40)})
    found = walk_images(tmp_path).need_all()
    assert found.names == ["ann/0.jpg"]
    assert found.report() == [f"{tmp_path}: 1 other files not taken: 1 no image ({name})"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = put(tmp_path / "faces", {"ann/0.jpg": JPEG, "bob/sub/0.jpg": JPEG})
    outside = put(tmp_path / "outside", {"x/0.jpg": JPEG, "x/y/1.jpg": JPEG})
    (root / "cleo").symlink_to(outside / "x", target_is_directory=True)
    (root / "dan.jpg").symlink_to(outside / "x" / "0.jpg")
    (root / "ann" / "up").symlink_to(root, target_is_directory=True)
    (root / "ann" / "here").symlink_to(".", target_is_directory=True)
    (outside / "x" / "y" / "back").symlink_to(root / "bob", target_is_directory=True)
    (root / "again").symlink_to(outside / "x", target_is_directory=True)
    found = walk_images(root)
    assert found.names == ["again/0.jpg", "again/y/1.jpg", "ann/0.jpg", "bob/sub/0.jpg", "dan.jpg"]
    assert found.folders == ["again", "ann", "bob"]
    assert not found.left_out
    assert dict(found.passed_over) == {
        "a link to a folder that was entered already": ["again/y/back", "ann/here", "ann/up", "cleo"]
    }


def test_links_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG})
    for name, target in (("ann/1.jpg", "gone.jpg"), ("bob", "gone"), ("self", "self")):
        (tmp_path / name).symlink_to(target)
    assert dict(walk_images(tmp_path).left_out) == {"a link to nowhere": ["ann/1.jpg", "bob", "self"]}


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG})
    for name in ("ann/1.jpg", "pipe"):
        os.mkfifo(tmp_path / name)
    assert dict(walk_images(tmp_path).passed_over) == {"no image": ["ann/1.jpg", "pipe"]}


def test_a_folder_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, "bob/0.jpg": JPEG})
    scan = os.scandir

    def refusing(path: Path) -> Any:
        if Path(path).name == "bob":
            raise PermissionError(13, "Permission denied")
        return scan(os.fspath(path))

    monkeypatch.setattr(os, "scandir", refusing)
    assert dict(walk_images(tmp_path).left_out) == {"not readable, Permission denied": ["bob"]}


def test_identity_folders_are_taken_at_one_depth_and_the_rest_is_named(tmp_path: Path) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, "stray.jpg": JPEG, "ann/video/1.jpg": JPEG})
    faces = FolderFaces(tmp_path)
    assert (faces.class_names, faces.found.names) == (["ann"], ["ann/0.jpg"])
    reason = "not in FOLDER/IDENTITY/IMAGE"
    assert dict(faces.found.left_out) == {reason: ["ann/video/1.jpg", "stray.jpg"]}
    with pytest.raises(ValueError, match=rf"2 images not taken: 2 {reason} \(ann/video/1\.jpg, stray\.jpg\)"):
        open_faces(tmp_path)


def test_an_identity_folder_that_is_a_link_is_one(tmp_path: Path) -> None:
    root = put(tmp_path / "faces", {"ann/0.jpg": JPEG})
    put(tmp_path / "other", {"0.jpg": PNG})
    (root / "bob").symlink_to(tmp_path / "other", target_is_directory=True)
    faces = FolderFaces(root)
    assert faces.class_names == ["ann", "bob"]
    np.testing.assert_array_equal(faces[1][0], FACE)


def test_training_refuses_a_folder_of_which_images_were_left_out_unless_told_to_skip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, {"ann/0.jpg": JPEG, "ann/1.gif": b"GIF89a", "notes.txt": b"x"})
    with pytest.raises(ValueError, match=r"1 images not taken: 1 GIF, .* \(ann/1\.gif\)"):
        open_faces(tmp_path)
    assert len(open_faces(tmp_path, corrupt="skip")) == 1
    assert "1 images not taken: 1 GIF" in caplog.text
    assert "1 other files not taken: 1 no image (notes.txt)" in caplog.text


def test_a_benchmarks_folder_of_which_an_image_is_not_taken_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"distractors_10.jpg": JPEG, "distractors_2.png": PNG, "Thumbs.db": b"x"})
    assert list_images(tmp_path) == ["distractors_2.png", "distractors_10.jpg"]
    put(tmp_path, {"distractors_3.tif": b"II*\0"})
    with pytest.raises(ValueError, match=r"TIFF, a kind that is not read \(distractors_3\.tif\)"):
        list_images(tmp_path)
    with pytest.raises(ValueError, match="no image"):
        list_images(put(tmp_path / "empty", {"a.txt": b"x"}))
