"""One folder packed in every way: the same classes under the same names, so that a classifier fits."""

from __future__ import annotations

import argparse
import io
import os
import tarfile
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.cli import make_rec
from btnet.data.class_names import name_classes
from btnet.data.face_files import FaceFiles
from btnet.data.face_list import read_face_list
from btnet.data.faces import FolderFaces, RecordFaces, open_faces
from btnet.data.record_faces import write_record_faces
from btnet.data.recordio import Header, RecordWriter
from btnet.data.shard_index import write_index
from btnet.images.codec import encode_png
from btnet.loss import load_classifier, save_classifier

PARTED = unicodedata.normalize("NFD", "Zoë Ångström")
LATIN = os.fsdecode("José".encode("latin-1"))
FOLDERS = ["10", "9", "a_b", "a b", "B", PARTED, LATIN, "é"]
NAMES = ["10", "9", "B", "José", "Zoë Ångström", "a b", "a_b", "é"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(FOLDERS):
        for shot in range(2):
            path = tmp_path / "faces" / name / f"{shot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(np.full((112, 112, 3), 20 * number + shot, np.uint8)))
    return tmp_path / "faces"


def pack(*arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    make_rec.add_arguments(parser)
    make_rec.run(parser.parse_args([str(argument) for argument in arguments]))


def packed(folder: Path) -> dict[str, Path]:
    """The folder as it is, and in every form that it can be brought to."""
    faces = FolderFaces(folder)
    root = folder.parent
    files = [f"{folder.name}/{name}" for name in faces.found.names]
    found = {"folder": folder, "rec": root / "a.rec"}
    pack(folder, "-o", found["rec"])
    forms = {
        "list": (root, "".join(f"{name} {label}\n" for name, label in zip(files, faces.labels, strict=True))),
        "lst": (root, "".join(f"{i}\t{faces.labels[i]}.000000\t{files[i]}\n" for i in range(len(files)))),
        "composed": (
            folder,
            "".join(
                f"{faces.class_names[faces.labels[i]]}/{i % 2}.png\t{faces.labels[i]}\r\n"
                for i in reversed(range(len(files)))
            ),
        ),
    }
    for form, (start, text) in forms.items():
        (root / f"{form}.txt").write_bytes(os.fsencode(text))
        found[form] = root / f"{form}.rec"
        pack(root / f"{form}.txt", "--root", start, "-o", found[form])
    found["shards"] = root / "shards.json"
    with tarfile.open(root / "a.tar", "w") as archive:
        for name, label in zip(files, faces.labels, strict=True):
            for member, content in (
                (name, (root / name).read_bytes()),
                (name.replace(".png", ".cls"), b"%d" % label),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    write_index(found["shards"], [str(root / "a.tar")])
    return found


def test_a_class_has_one_name_and_one_label_however_the_set_was_packed(folder: Path) -> None:
    for form, path in packed(folder).items():
        faces = open_faces(path)
        assert faces.class_names == NAMES, form
        assert faces.labels.tolist() == [label for label in range(len(NAMES)) for _ in range(2)], form
        pixels = [int(faces[i][0][0, 0, 0]) // 20 for i in range(0, len(faces), 2)]
        assert [unicodedata.normalize("NFC", FOLDERS[number]) for number in pixels][4] == NAMES[4], form
        assert pixels == [0, 1, 4, 6, 5, 3, 2, 7], form


def test_a_classifier_of_one_form_fits_every_other(folder: Path) -> None:
    path = folder.parent / "classifier.safetensors"
    for saved in (NAMES, [unicodedata.normalize("NFD", name) for name in NAMES]):
        save_classifier(path, torch.eye(len(NAMES)), saved, trunk_fingerprint="t", data_fingerprint="d")
        for each in packed(folder).values():
            found = load_classifier(path, expected_class_names=open_faces(each).class_names)
            assert list(found.class_names) == NAMES
    with pytest.raises(ValueError, match="label 0: '10' here, '9' in the data set"):
        load_classifier(path, expected_class_names=[NAMES[1], NAMES[0], *NAMES[2:]])


def test_a_person_in_two_normal_forms_is_refused_wherever_names_are_read(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "Zoë Ångström").mkdir()
    (folder / "Zoë Ångström" / "0.png").write_bytes(b"")
    message = "class name 'Zoë Ångström' occurs twice"
    with pytest.raises(ValueError, match=message):
        FolderFaces(folder)
    names = ["Zoë Ångström", PARTED]
    with pytest.raises(ValueError, match=message):
        write_record_faces(tmp_path / "x.rec", [0, 1], [b"x", b"x"], class_names=names)
    with pytest.raises(ValueError, match=message):
        save_classifier(tmp_path / "c", torch.eye(2), names, trunk_fingerprint="", data_fingerprint="")
    write_record_faces(tmp_path / "x.rec", [0, 1], [b"x", b"x"])
    (tmp_path / "x.classes.txt").write_text("".join(f"{name}\n" for name in names))
    with pytest.raises(ValueError, match=message):
        _ = RecordFaces(tmp_path / "x.rec").class_names


def test_names_that_went_through_another_system_are_the_same(tmp_path: Path) -> None:
    write_record_faces(tmp_path / "x.rec", [0, 1, 2], [b"x"] * 3)
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "x.classes.txt").write_bytes(f"{PARTED}\r\n b \r\nc\r\n\r\n".encode(encoding))
        assert RecordFaces(tmp_path / "x.rec").class_names == ["Zoë Ångström", " b ", "c"]


@pytest.mark.parametrize(
    ("faces", "names"),
    [
        ([("web/ann/0.jpg", 0), ("news/bob/0.jpg", 1)], ["ann", "bob"]),
        ([("web/ann/0.jpg", 0), ("news/ann/0.jpg", 1), ("web/bob/0.jpg", 2)], ["web/ann", "news/ann", "bob"]),
        ([("ann/0.jpg", 0), ("news/ann/0.jpg", 1)], ["ann", "news/ann"]),
        ([("web/bob/0.jpg", 0), ("news/ann/0.jpg", 0), ("news/cleo/0.jpg", 1)], ["ann", "cleo"]),
        ([("ann/0.jpg", 0), ("ann/1.jpg", 1)], None),
        ([("0.jpg", 0)], None),
    ],
)
def test_a_class_is_called_after_its_folder_where_that_tells_it_apart(
    faces: list[tuple[str, int]], names: list[str] | None
) -> None:
    assert name_classes(faces) == names
    assert name_classes(reversed(faces)) == names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ann/0.jpg", "faces.txt:2: 'ann/0.jpg', expected `archive"),
        ("ann/0.jpg -1", "faces.txt:2: "),
        ("ann/0.jpg 1.5", "faces.txt:2: "),
        ("ann/0.jpg 99999999999999999999", "faces.txt:2: "),
        ("7\tann/0.jpg\t1\t2", "faces.txt:2: "),
        ("7\t1\t2", "faces.txt:2: "),
        ("7\tann/0.jpg\tbob", "faces.txt:2: "),
        ("ann/0.jpg 2", "faces.txt:2: no image has label 1, the next label is 2"),
        (b"\xff/0.jpg 1", "faces.txt:2: .*utf-8"),
        ("bob/0.jpg 1", "faces.txt:2: 'bob/0.jpg' has label 1, the same name has label 0 at .*faces.txt:1"),
    ],
)
def test_a_line_of_a_list_of_faces_that_does_not_fit_is_named(
    line: str | bytes, message: str, tmp_path: Path
) -> None:
    content = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "faces.txt").write_bytes(b"bob/0.jpg\t0\n" + content + b"\n")
    with pytest.raises(ValueError, match=message):
        read_face_list(tmp_path / "faces.txt", tmp_path)


def test_a_folder_in_two_normal_forms_has_one_label_in_a_list(tmp_path: Path) -> None:
    for label in (0, 1):
        text = f"{PARTED}/0.jpg 0\nZoë Ångström/1.jpg {label}\nann/0.jpg {label + 1}\n"
        (tmp_path / "faces.txt").write_text(text)
        if label:
            with pytest.raises(ValueError, match=r"faces\.txt:2: .* label 1, the same name has label 0 at"):
                read_face_list(tmp_path / "faces.txt", tmp_path)
        else:
            found = read_face_list(tmp_path / "faces.txt", tmp_path)
            assert found.class_names == ["Zoë Ångström", "ann"]


def test_both_kinds_of_lst_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "mxnet.lst").write_text("0\t1.000000\tbob x/0.jpg\n1\t0\tann/0.jpg\n\n")
    (tmp_path / "aligned.lst").write_text("1\tbob x/0.jpg\t1\n1\tann/0.jpg\t0\n")
    for name in ("mxnet.lst", "aligned.lst"):
        found = read_face_list(tmp_path / name, tmp_path)
        assert [tuple(face[:2]) for face in found.faces] == [("ann/0.jpg", 0), ("bob x/0.jpg", 1)]
        assert found.class_names == ["ann", "bob x"]


def test_members_of_archives_are_found_in_any_form_of_their_name(tmp_path: Path) -> None:
    path = tmp_path / f"{PARTED}.zip"
    stored = "Zoé/1.jpg".encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{PARTED}/0.jpg", b"said")
        archive.writestr("?" * len(stored), b"unsaid")
    path.write_bytes(
        path.read_bytes().replace(b"?" * len(stored), stored)
    )  # as tools do that do not say UTF-8
    with FaceFiles(tmp_path) as files:
        assert files.read("Zoë Ångström/Zoë Ångström/0.jpg", "list:1") == b"said"
        assert files.read("Zoë Ångström/Zoe\u0301/1.jpg", "list:1") == b"unsaid"
        assert files.find("Zoë Ångström/x.jpg") is None
        with pytest.raises(FileNotFoundError, match=r"list:2: 'x/y\.jpg' is neither"):
            files.read("x/y.jpg", "list:2")


@pytest.mark.parametrize(
    ("labels", "announced", "message"),
    [
        ([0, 1, 3], 0, "record 3: label 3, but no image has label 2"),
        ([1, 2], 0, "record 1: label 1, but no image has label 0"),
        ([0, 2, 2], 3, "record 2: label 2, but no image has label 1"),
        ([0, 1, 1], 3, "record 0 announces 3 classes, but no image has label 2"),
        ([0, -1], 0, "record 2: label -1.0, expected a whole number"),
        ([0, 0.5], 0, "record 2: label 0.5, expected a whole number"),
        ([0, float("nan")], 0, "record 2: label nan"),
        ([0, 2**24 + 1], 0, "record 2: label 16777216.0, expected a whole number in"),
        ([0, 1, 5], 3, r"record 3: label 5.0, expected a whole number in \[0, 3\)"),
    ],
)
def test_a_label_without_meaning_is_named_by_its_record(
    labels: list[float], announced: int, message: str, tmp_path: Path
) -> None:
    with RecordWriter(tmp_path / "x.rec") as writer:
        end = len(labels) + 1
        if announced:
            writer.write(0, Header(2, np.array([end, end + announced], np.float32)), b"")
        for key, label in enumerate(labels, start=1):
            writer.write(key, Header(0, float(label), key), b"image")
        for key in range(end, end + announced):
            writer.write(key, Header(2, np.array([1, 1], np.float32), key), b"")
    with pytest.raises(ValueError, match=message):
        _ = RecordFaces(tmp_path / "x.rec").labels
