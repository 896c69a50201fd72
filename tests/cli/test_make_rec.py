"""`btnet make-rec` and `btnet make-bin`: folders, lists, archives, and input that does not fit."""

import argparse
import zipfile
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.cli import main, make_bin, make_rec
from btnet.data.bin_sets import read_bin
from btnet.data.faces import RecordFaces, decode_image, encode_jpeg
from btnet.data.recordio import RecordReader
from btnet.images.codec import encode_png
from btnet.images.resize import resize


def picture(seed: int, width: int = 112, height: int = 112) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:height, 0:width] / 112
    channels = [np.sin(3 * rows + seed), np.cos(4 * columns + seed), rows * columns]
    return (np.stack(channels, axis=2) * 100 + 120).clip(0, 255).astype(np.uint8)


def call(command: ModuleType, *arguments: str | Path) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder `web` and an archive `news.zip`, two identities each, one of the same name."""
    root = tmp_path / "root"
    for seed, name in enumerate(["ann/0", "ann/1", "bob/0"]):
        path = root / "web" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(picture(seed)))
    with zipfile.ZipFile(root / "news.zip", "w") as archive:
        for seed, name in enumerate(["bob/0", "cleo x/0"], start=3):
            archive.writestr(f"{name}.jpg", encode_jpeg(picture(seed)))
    return root


def test_a_folder_is_packed_byte_for_byte(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(make_rec, root / "web", "--output", tmp_path / "x.rec")
    assert "3 images of 2 identities" in capsys.readouterr().out
    faces = RecordFaces(tmp_path / "x.rec")
    assert faces.class_names == ["ann", "bob"]
    assert faces.labels.tolist() == [0, 0, 1]
    reader = RecordReader(tmp_path / "x.rec")
    for key, name in enumerate(["ann/0", "ann/1", "bob/0"], start=1):
        assert reader.read(key)[1] == (root / "web" / f"{name}.jpg").read_bytes()
    # The layout that arcface_torch's MXFaceDataset expects.
    assert [np.ravel(reader.read(key)[0].label).tolist() for key in (0, 4, 5)] == [[4, 6], [1, 3], [3, 4]]


def test_a_list_takes_faces_from_folders_and_archives_and_sorts_them_by_label(
    root: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(
        "news/cleo x/0.jpg 2\nweb/ann/0.jpg\t1\n\nweb/bob/0.jpg 0\nnews/bob/0.jpg   0\nweb/ann/1.jpg 1\n"
    )
    call(make_rec, listing, "--root", root, "-o", tmp_path / "x.rec")
    faces = RecordFaces(tmp_path / "x.rec")
    assert faces.labels.tolist() == [0, 0, 1, 1, 2]
    assert faces.class_names == ["bob", "ann", "cleo x"]
    for index, seed in enumerate([2, 3, 0, 1, 4]):
        np.testing.assert_array_equal(faces[index][0], decode_image(encode_jpeg(picture(seed)), "x"))


def test_classes_that_share_a_folder_have_no_names(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("web/ann/0.jpg 0\nweb/ann/1.jpg 1\n")
    call(make_rec, tmp_path / "list.txt", "--root", root, "-o", tmp_path / "x.rec")
    assert not (tmp_path / "x.classes.txt").exists()
    assert RecordFaces(tmp_path / "x.rec").class_names == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "web/ann/0.jpg 0\nweb/bob/0.jpg 2\n",
            r"list\.txt:2: no image has label 1, the next label is 2; ",
        ),
        ("web/ann/0.jpg 1\n", "no image has label 0"),
        ("web/ann/0.jpg 0\nweb/ann/1.jpg\n", r"list\.txt:2: 'web/ann/1\.jpg', expected"),
        ("web/ann/0.jpg -1\n", r"list\.txt:1: "),
        ("\n", "no line in it"),
        (
            "web/ann/0.jpg 0\nnews/dan/0.jpg 1\n",
            r"list\.txt:2: 'news/dan/0\.jpg' is neither a file .* nor",
        ),
        ("web/ann/0.jpg 0\nmail/ann/0.jpg 1\n", r"list\.txt:2: 'mail/ann/0\.jpg' is neither .*mail\.zip"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_and_nothing_is_left(
    text: str, message: str, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(make_rec, tmp_path / "list.txt", "--root", root, "-o", tmp_path / "x.rec")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "root"]


def test_an_image_of_another_size_is_refused_or_resized_on_request(root: Path, tmp_path: Path) -> None:
    odd = picture(9, width=224, height=224)
    (root / "web" / "ann" / "1.jpg").write_bytes(encode_png(odd))
    with pytest.raises(ValueError, match=r"ann/1\.jpg is 224 x 224 px, expected .* 112 x 112; .*--size"):
        call(make_rec, root / "web", "-o", tmp_path / "x.rec")
    assert not (tmp_path / "x.rec").exists()
    call(make_rec, root / "web", "-o", tmp_path / "x.rec", "--size", "112")
    reader = RecordReader(tmp_path / "x.rec")
    assert reader.read(1)[1] == (root / "web" / "ann" / "0.jpg").read_bytes()
    resized = decode_image(reader.read(2)[1], "x").astype(int)
    expected = np.asarray(cv2.resize(odd, (112, 112), interpolation=cv2.INTER_AREA)).astype(int)
    assert reader.read(2)[1].startswith(b"\xff\xd8")
    assert np.abs(resized - expected).mean() < 1.5
    (root / "web" / "bob" / "0.jpg").write_bytes(encode_jpeg(picture(9, width=912, height=612)))
    with pytest.raises(ValueError, match=r"bob/0\.jpg is 912 x 612 px, expected an aligned face"):
        call(make_rec, root / "web", "-o", tmp_path / "y.rec", "--size", "112")


def test_crops_of_any_size_are_packed_as_they_are_on_request(tmp_path: Path) -> None:
    """The layout of QMUL-SurvFace: training_set/ID/*.jpg, native crops that are not square."""
    sizes = {"1/1_cam1_1.jpg": (24, 20), "1/1_cam2_1.jpg": (13, 9), "57/57_cam1_1.jpg": (61, 50)}
    folder, rec = tmp_path / "training_set", tmp_path / "survface.rec"
    for name, (height, width) in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_jpeg(picture(1, width=width, height=height)))
    call(make_rec, folder, "-o", rec, "--keep-size")
    faces = RecordFaces(rec)
    assert [faces[i][0].shape[:2] for i in range(len(faces))] == list(sizes.values())
    assert faces.class_names == ["1", "57"]
    with pytest.raises(ValueError, match="exclude each other"):
        call(make_rec, folder, "-o", rec, "--keep-size", "--size", "112")


def test_formats_that_loaders_may_not_read_are_encoded_anew(root: Path, tmp_path: Path) -> None:
    image = picture(5)
    (root / "web" / "ann" / "0.png").write_bytes(encode_png(image))
    (root / "web" / "bob" / "1.bmp").write_bytes(cv2.imencode(".bmp", image[:, :, ::-1])[1].tobytes())
    call(make_rec, root / "web", "-o", tmp_path / "x.rec")
    payloads = [RecordReader(tmp_path / "x.rec").read(key)[1] for key in range(1, 6)]
    assert payloads[1] == encode_png(image)
    assert payloads[4] == encode_jpeg(image)


def test_an_unreadable_image_stops_the_packing_with_its_name(root: Path, tmp_path: Path) -> None:
    (root / "web" / "bob" / "0.jpg").write_bytes(b"\xff\xd8\xff broken")
    with pytest.raises(ValueError, match=r"bob/0\.jpg: not a readable image"):
        call(make_rec, root / "web", "-o", tmp_path / "x.rec")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]


def test_a_missing_index_is_rebuilt(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(make_rec, root / "web", "-o", tmp_path / "x.rec")
    before = (tmp_path / "x.idx").read_bytes()
    (tmp_path / "x.idx").unlink()
    call(make_rec, "--index", tmp_path / "x.rec")
    assert (tmp_path / "x.idx").read_bytes() == before
    assert "6 records" in capsys.readouterr().out


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for arguments in ([], ["list.txt"], ["-o", "x.rec"]):
        with pytest.raises(ValueError, match="give a folder of identity folders or a list"):
            call(make_rec, *arguments)
    with pytest.raises(ValueError, match="--root is for a list"):
        call(make_rec, tmp_path, "--root", tmp_path, "-o", "x.rec")


def test_pairs_become_a_verification_set(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.txt").write_text(
        "web/ann/0.jpg web/ann/1.jpg 1\nweb/bob/0.jpg\tnews/cleo x/0.jpg\t0\nnews/bob/0.jpg web/bob/0.jpg 1\n"
    )
    call(make_bin, tmp_path / "pairs.txt", "--root", root, "-o", tmp_path / "x.bin")
    assert "3 pairs, 2 of them the same person" in capsys.readouterr().out
    images, issame = read_bin(tmp_path / "x.bin")
    assert issame.tolist() == [True, False, True]
    for image, seed in zip(images, [0, 1, 2, 4, 3, 2], strict=True):
        np.testing.assert_array_equal(image, decode_image(encode_jpeg(picture(seed)), "x"))
    assert (root / "web" / "ann" / "1.jpg").read_bytes() in (tmp_path / "x.bin").read_bytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web/ann/0.jpg web/ann/1.jpg\n", r"pairs\.txt:1: .*expected `face face same`"),
        ("web/ann/0.jpg web/ann/1.jpg 1\nweb/ann/0.jpg web/bob/0.jpg no\n", r"pairs\.txt:2: "),
        ("web/ann/0.jpg web/ann/7.jpg 1\n", r"pair 1: 'web/ann/7\.jpg' is neither"),
        (
            "web/ann/0.jpg web/small.jpg 1\n",
            r"pair 1: web/small\.jpg is 50 x 60 px, expected an aligned face of 112 x 112",
        ),
        ("", r"pairs\.txt: no line in it"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(text: str, message: str, root: Path, tmp_path: Path) -> None:
    (root / "web" / "small.jpg").write_bytes(encode_jpeg(picture(0, width=50, height=60)))
    (tmp_path / "pairs.txt").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(make_bin, tmp_path / "pairs.txt", "--root", root, "-o", tmp_path / "x.bin")
    assert not (tmp_path / "x.bin").exists()


def test_pairs_are_drawn_of_identity_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for person in range(3):
        (tmp_path / "faces" / str(person)).mkdir(parents=True)
        for shot in range(4):
            image = np.full((112, 112, 3), 60 * person + shot, dtype=np.uint8)
            (tmp_path / "faces" / str(person) / f"{shot}.png").write_bytes(encode_png(image))
    call(make_bin, tmp_path / "faces", "--draw", "10", "-o", tmp_path / "x.bin")
    assert "10 pairs, 5 of them the same person" in capsys.readouterr().out
    images, issame = read_bin(tmp_path / "x.bin")
    person_of = images[:, 0, 0, 0] // 60
    np.testing.assert_array_equal(person_of[::2] == person_of[1::2], issame)
    assert not (images[::2][issame] == images[1::2][issame]).all(axis=(1, 2, 3)).any()


def test_squares_become_a_verification_set_of_one_size_on_request(root: Path, tmp_path: Path) -> None:
    large = picture(9, width=250, height=250)
    (root / "web" / "ann" / "1.jpg").write_bytes(encode_png(large))
    (tmp_path / "pairs.txt").write_text("web/ann/0.jpg web/ann/1.jpg 1\n")
    pack: list[str | Path] = [tmp_path / "pairs.txt", "--root", root, "-o", tmp_path / "x.bin"]
    with pytest.raises(
        ValueError, match=r"ann/1\.jpg is 250 x 250 px, expected an aligned face of 112 x 112"
    ):
        call(make_bin, *pack)
    call(make_bin, *pack, "--size", "112", "--interpolation", "bilinear")
    images, _ = read_bin(tmp_path / "x.bin")
    np.testing.assert_array_equal(images[0], decode_image(encode_jpeg(picture(0)), "x"))
    np.testing.assert_array_equal(images[1], resize(large, 112))


def test_images_that_are_not_taken_are_named_and_the_exit_status_tells(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack_rec = ["make-rec", str(root / "web"), "-o", str(tmp_path / "x.rec")]
    (root / "web" / "list.txt").write_text("no image")
    assert main(pack_rec) == 0
    assert "1 other files not taken: 1 no image (list.txt)" in capsys.readouterr().err
    (root / "web" / "ann" / "2.gif").write_bytes(b"GIF89a")
    (root / "web" / "stray.jpg").write_bytes(encode_jpeg(picture(1)))
    left_out = "2 images not taken: 1 GIF, a kind that is not read (ann/2.gif); 1 not in FOLDER/"
    assert main(pack_rec) == 3
    out, err = capsys.readouterr()
    assert "3 images of 2 identities" in out
    assert left_out in err
    assert main(["make-bin", str(root / "web"), "--draw", "2", "-o", str(tmp_path / "x.bin")]) == 2
    (root / "web" / "bob" / "1.jpg").write_bytes(encode_jpeg(picture(5)))
    assert main(["make-bin", str(root / "web"), "--draw", "2", "-o", str(tmp_path / "x.bin")]) == 3
    assert left_out in capsys.readouterr().err
