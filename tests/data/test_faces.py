"""Training sets: MXNet's samples, identity folders, corrupt images."""

import hashlib
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.data import record_faces
from btnet.data.faces import (
    CorruptImageError,
    FaceSet,
    FolderFaces,
    RecordFaces,
    SkipCorrupt,
    decode_image,
    encode_jpeg,
    open_faces,
)
from btnet.data.record_faces import write_record_faces
from btnet.data.recordio import Header, RecordReader, RecordWriter
from btnet.images.codec import encode_png

ASSETS = Path(__file__).parents[1] / "assets" / "recordio"
META = json.loads((ASSETS / "meta.json").read_text())
SAMPLES = ["scalar", "vector", "noheader", "plain"]
NOT_AN_IMAGE = 6  # index of record 7 in all samples but `plain`


def picture(seed: int, size: int = 16) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:size, 0:size] / size
    channels = [np.sin(3 * rows + seed), np.cos(4 * columns + seed), rows * columns]
    return (np.stack(channels, axis=2) * 100 + 120).clip(0, 255).astype(np.uint8)


def write_set(path: Path, labels: list[float], header: tuple[float, ...] | None) -> RecordFaces:
    with RecordWriter(path) as writer:
        if header is not None:
            writer.write(0, Header(2, np.array(header, np.float32)), b"")
        for key, label in enumerate(labels, start=1):
            writer.write(key, Header(0, label, key), encode_png(picture(key)))
        for key in range(len(labels) + 1, int(header[1]) if header else 0):
            writer.write(key, Header(2, np.array([0, 0], np.float32), key), b"")
    return RecordFaces(path)


def write_folders(root: Path, counts: dict[str, int]) -> Path:
    for seed, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(encode_png(picture(10 * seed + index)))
    return root


@pytest.mark.parametrize("name", SAMPLES)
def test_the_images_of_mxnets_samples(name: str) -> None:
    faces = RecordFaces(ASSETS / f"{name}.rec")
    reader = RecordReader(ASSETS / f"{name}.rec")
    assert len(faces) == 20
    assert faces.num_classes == 5
    expected = [entry[2] for entry in META[name] if entry[3]]
    assert faces.labels.tolist() == expected
    assert faces.labels.dtype == np.int64
    assert faces.class_names == ["0", "1", "2", "3", "4"]
    for index, label in enumerate(expected):
        if name != "plain" and index == NOT_AN_IMAGE:
            continue
        image, found = faces[index]
        payload = reader.read(index + 1)[1]
        assert found == label
        assert isinstance(found, int)
        bgr = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(image, np.asarray(bgr)[:, :, ::-1])
        assert image.shape == (112, 112, 3)
        assert image.dtype == np.uint8


def test_an_unreadable_image_is_named_by_file_and_record() -> None:
    faces = RecordFaces(ASSETS / "vector.rec")
    with pytest.raises(CorruptImageError, match=r"vector\.rec: record 7: not a readable image \(7 bytes, "):
        faces[NOT_AN_IMAGE]


def test_the_written_layout_is_byte_identical_to_insightfaces(tmp_path: Path) -> None:
    reader = RecordReader(ASSETS / "scalar.rec")
    records = [reader.read(key) for key in range(1, 21)]
    labels = [int(np.ravel(header.label)[0]) for header, _ in records]
    images = (payload for _, payload in records)
    write_record_faces(tmp_path / "x.rec", labels, images, class_names=["a", "b b", "ç", "d", ""])
    for ending in (".rec", ".idx"):
        assert (tmp_path / f"x{ending}").read_bytes() == (ASSETS / f"scalar{ending}").read_bytes()
    assert RecordFaces(tmp_path / "x.rec").class_names == ["a", "b b", "ç", "d", ""]


def test_packing_without_names_drops_the_names_of_the_set_before(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write_record_faces(path, [0, 1], [b"a", b"b"], class_names=["old", "names"])
    write_record_faces(path, [0, 1, 2], [b"a", b"b", b"c"])
    assert RecordFaces(path).class_names == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 2], None, "image 1 has label 2 where 0 or 1 is due"),
        ([1], None, "image 0 has label 1 where 0 or 0 is due"),
        ([0, 1, 0], None, "image 2 has label 0 where 1 or 2 is due"),
        ([], None, "no image to write"),
        ([0, 1], ["one"], "1 class names for 2 classes"),
        ([0], ["a\nb"], "holds a line break"),
    ],
)
def test_labels_and_names_that_do_not_fit_are_refused(
    labels: list[int], names: list[str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_record_faces(tmp_path / "x.rec", labels, [b"x"] * len(labels), class_names=names)
    assert not list(tmp_path.iterdir())


def test_a_label_outside_the_classes_is_named_by_its_record(tmp_path: Path) -> None:
    faces = write_set(tmp_path / "x.rec", [0, 1, 3, 1], header=(5, 7))
    assert faces.num_classes == 2
    assert faces[1][1] == 1
    message = r"x\.rec: record 3: label 3\.0, expected a whole number in \[0, 2\)"
    with pytest.raises(ValueError, match=message):
        faces[2]
    with pytest.raises(ValueError, match=message):
        _ = faces.labels


def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"record 2: label 0\.5"):
        write_set(tmp_path / "x.rec", [0, 0.5], header=None)


def test_an_implausible_identity_range_is_replaced_by_counting_labels(tmp_path: Path) -> None:
    # Tools exist that write the number of classes where the end of the ranges belongs.
    assert write_set(tmp_path / "a.rec", [0, 1, 2], header=(4, 3)).num_classes == 3
    assert write_set(tmp_path / "b.rec", [0, 1, 2], header=(4, 4)).num_classes == 3


def test_a_vector_labelled_first_image_is_no_header(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "x.rec") as writer:
        for key in range(3):
            writer.write(key, Header(2, np.array([key, 9], np.float32)), encode_png(picture(key)))
    faces = RecordFaces(tmp_path / "x.rec")
    assert faces.labels.tolist() == [0, 1, 2]


def test_a_count_rounded_by_float32_is_corrected_from_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_faces, "_FLOAT32_EXACT", 2)
    for rounded in (5, 6, 7):
        path = tmp_path / f"{rounded}.rec"
        with RecordWriter(path) as writer:
            writer.write(0, Header(2, np.array([rounded, 99], np.float32)), b"")
            for key in range(1, 6):
                writer.write(key, Header(0, float(key // 3), key), b"image")
            for key in (6, 7):
                writer.write(key, Header(2, np.array([0, 0], np.float32), key), b"")
        faces = RecordFaces(path)
        assert (len(faces), faces.num_classes) == (5, 2)


def test_images_missing_from_the_index_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write_set(path, [0, 0, 1], header=(4, 6))
    lines = path.with_suffix(".idx").read_text().splitlines(keepends=True)
    path.with_suffix(".idx").write_text("".join(lines[:2] + lines[3:]))
    with pytest.raises(ValueError, match=r"announces images 1 \.\. 3, the index has 2 keys"):
        RecordFaces(path)


def test_class_names_of_another_set_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "x.rec", [0, 1], header=(3, 5))
    (tmp_path / "x.classes.txt").write_text("a\nb\nc\n")
    with pytest.raises(ValueError, match=r"x\.classes\.txt: 3 names, but x\.rec has 2 classes"):
        _ = RecordFaces(tmp_path / "x.rec").class_names


def test_the_fingerprint_of_a_record_set_follows_its_content(tmp_path: Path) -> None:
    def fingerprint(name: str, labels: list[int], names: list[str] | None = None) -> str:
        path = tmp_path / name / "x.rec"
        path.parent.mkdir()
        images = [encode_png(picture(seed)) for seed in range(len(labels))]
        write_record_faces(path, labels, images, class_names=names)
        return RecordFaces(path).fingerprint()

    first = fingerprint("first", [0, 0, 1])
    assert first == fingerprint("elsewhere", [0, 0, 1])
    changed = [fingerprint("label", [0, 1, 1]), fingerprint("more", [0, 0, 1, 1])]
    changed.append(fingerprint("named", [0, 0, 1], ["a", "b"]))
    assert len({first, *changed}) == 4


def test_folders_are_labelled_by_name_and_strays_are_ignored(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "faces", {"zoe": 1, "adam": 2, "Eve": 1})
    (root / "readme.txt").write_text("not a folder")
    (root / ".cache").mkdir()
    (root / "adam" / "._0.png").write_bytes(b"a Mac was here")
    (root / "adam" / "notes.txt").write_text("not an image")
    (root / "adam" / "9.JPG").write_bytes(encode_jpeg(picture(3)))
    faces = FolderFaces(root)
    assert faces.class_names == ["Eve", "adam", "zoe"]
    assert faces.num_classes == 3
    assert faces.labels.tolist() == [0, 1, 1, 1, 2]
    assert [Path(faces.describe(index)).name for index in range(5)] == [
        "0.png",
        "0.png",
        "1.png",
        "9.JPG",
        "0.png",
    ]
    for index, seed in enumerate([20, 10, 11]):
        image, label = faces[index]
        np.testing.assert_array_equal(image, picture(seed))
        assert label == faces.labels[index]


def test_an_identity_without_images_is_refused(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "faces", {"adam": 1, "bea": 0})
    with pytest.raises(ValueError, match=r"bea: no image \(\.jpg, .*remove the folder"):
        FolderFaces(root)
    with pytest.raises(ValueError, match="no identity folder"):
        FolderFaces(root / "adam")


def test_the_fingerprint_of_folders_follows_names_not_places(tmp_path: Path) -> None:
    prints = [
        FolderFaces(write_folders(tmp_path / str(place), counts)).fingerprint()
        for place, counts in enumerate(
            [{"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 2, "b": 1}]
        )
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


@pytest.mark.parametrize("kind", ["record", "folder", "skipping"])
def test_a_set_sent_to_a_worker_reads_the_same(kind: str, tmp_path: Path) -> None:
    faces: FaceSet = RecordFaces(ASSETS / "plain.rec")
    if kind == "folder":
        faces = FolderFaces(write_folders(tmp_path, {"a": 2}))
    if kind == "skipping":
        faces = SkipCorrupt(faces)
    sent: FaceSet = pickle.loads(pickle.dumps(faces))
    assert len(sent) == len(faces)
    assert sent[1][1] == faces[1][1]
    np.testing.assert_array_equal(sent[1][0], faces[1][0])
    assert sent.fingerprint() == faces.fingerprint()


def test_skipping_takes_the_next_readable_image_with_its_own_label_and_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faces = RecordFaces(ASSETS / "scalar.rec")
    skipping = SkipCorrupt(faces)
    assert skipping.num_skipped == 0
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            image, label = skipping[NOT_AN_IMAGE]
            np.testing.assert_array_equal(image, faces[NOT_AN_IMAGE + 1][0])
            assert label == 1
    assert skipping.num_skipped == 1
    assert len(caplog.records) == 1
    assert "scalar.rec: record 7: not a readable image" in caplog.text
    assert "1 so far in process" in caplog.text
    assert len(skipping) == len(faces)
    assert skipping.labels.tolist() == faces.labels.tolist()
    with pytest.raises(IndexError):
        skipping[20]


def test_skipping_wraps_around_and_ends(tmp_path: Path) -> None:
    root = write_folders(tmp_path, {"a": 2, "b": 1})
    (root / "b" / "0.png").write_bytes(b"")
    (root / "a" / "0.png").write_bytes(b"\x89PNG broken")
    skipping = open_faces(root, corrupt="skip")
    assert isinstance(skipping, SkipCorrupt)
    assert skipping[2][1] == 0
    np.testing.assert_array_equal(skipping[2][0], picture(1))
    assert skipping.num_skipped == 2
    (root / "a" / "1.png").write_bytes(b"")
    with pytest.raises(CorruptImageError, match=r"b/0\.png: this image is unreadable, and so are all 3"):
        skipping[2]


def test_skipping_does_not_hide_a_wrong_label(tmp_path: Path) -> None:
    skipping = SkipCorrupt(write_set(tmp_path / "x.rec", [0, 5], header=(3, 4)))
    with pytest.raises(ValueError, match=r"record 2: label 5\.0"):
        skipping[1]
    assert skipping.num_skipped == 0


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("absent.rec", FileNotFoundError, r"absent\.rec: no such file or folder; expected a \.rec file"),
        ("list.lst", ValueError, r"list\.lst: the ending '\.lst' names no training set"),
        ("synthetic:3", ValueError, "synthetic:3: expected synthetic:IDS:PER_ID"),
        ("synthetic:3:x", ValueError, "expected synthetic:IDS:PER_ID"),
    ],
)
def test_a_spec_that_names_no_set_is_refused(
    spec: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.lst").touch()
    with pytest.raises(error, match=message):
        open_faces(spec)


def test_specs_open_the_kind_they_name(tmp_path: Path) -> None:
    assert isinstance(open_faces(str(ASSETS / "plain.rec")), RecordFaces)
    assert isinstance(open_faces(write_folders(tmp_path, {"a": 1})), FolderFaces)


def test_synthetic_specs_render_what_they_say() -> None:
    synthetic = open_faces("synthetic:3:2:7")
    assert (len(synthetic), synthetic.num_classes) == (6, 3)
    np.testing.assert_array_equal(open_faces("synthetic:3:2:7")[4][0], synthetic[4][0])
    assert not np.array_equal(open_faces("synthetic:3:2:8")[4][0], synthetic[4][0])
    assert len(open_faces("synthetic")) == 64 * 16


def test_colours_come_as_rgb() -> None:
    image = picture(1)
    np.testing.assert_array_equal(decode_image(encode_png(image), "x"), image)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    decoded = decode_image(encode_jpeg(red), "x").astype(int)
    assert np.abs(decoded - red).max() <= 2


def test_grey_and_transparent_images_become_rgb() -> None:
    grey = picture(1)[:, :, 0]
    transparent = np.dstack([picture(2)[:, :, ::-1], grey])
    for stored, expected in ((grey, np.dstack([grey] * 3)), (transparent, picture(2))):
        data = cv2.imencode(".png", stored)[1].tobytes()
        np.testing.assert_array_equal(decode_image(data, "x"), expected)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_encoding_refuses_what_is_no_image(image: Any) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 RGB \[H, W, 3\]"):
        encode_jpeg(image)


def test_the_assets_are_what_mxnet_wrote() -> None:
    digest = hashlib.sha256(RecordReader(ASSETS / "plain.rec").read(8)[1]).hexdigest()
    assert digest == META["plain"][8][3]
