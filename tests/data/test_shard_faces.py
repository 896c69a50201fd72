"""Faces in tar shards against the `.rec` of the same faces; what a wrong shard or index says."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from btnet.cli import main
from btnet.data.faces import CorruptImageError, FaceSet, RecordFaces, open_faces
from btnet.data.loader import Batches, GlobalOrder
from btnet.data.record_faces import write_record_faces
from btnet.data.shard_faces import ShardFaces
from btnet.data.shard_index import write_index
from btnet.images.codec import encode_png
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.run import train

CONFIGS = Path(__file__).parents[2] / "configs"
RENDERED = SyntheticFaces(8, 4)
LABELS = RENDERED.labels.tolist()
IMAGES = [encode_png(RENDERED[i][0]) for i in range(len(RENDERED))]


def write_tar(path: Path, files: list[tuple[str, bytes]], kind: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def sample(index: int) -> list[tuple[str, bytes]]:
    return [(f"{index:04}.png", IMAGES[index]), (f"{index:04}.cls", str(LABELS[index]).encode())]


def write_shards(folder: Path, *, per_shard: int = 11) -> list[str]:
    """The rendered faces in shards of which the last is smaller."""
    names = []
    for number, first in enumerate(range(0, len(IMAGES), per_shard)):
        indices = range(first, min(first + per_shard, len(IMAGES)))
        names.append(str(folder / f"faces-{number}.tar"))
        write_tar(Path(names[-1]), [file for i in indices for file in sample(i)])
    return names


def remote_shards(folder: Path) -> Path:
    """An index whose shards lie in a storage that is no folder: a zip file, which fsspec reads as one."""
    shards = write_shards(folder)
    with zipfile.ZipFile(folder / "store.zip", "w") as store:
        for name in shards:
            store.write(name, Path(name).name)
    index = folder / "remote.json"
    write_index(index, shards)
    text = json.loads(index.read_text())
    for shard in text["shards"]:
        (folder / shard["url"]).unlink()
        shard["url"] = f"zip://{shard['url']}::{folder / 'store.zip'}"
    index.write_text(json.dumps(text))
    return index


def test_local_and_remote_shards_give_the_batches_of_the_rec(tmp_path: Path) -> None:
    write_record_faces(tmp_path / "faces.rec", LABELS, IMAGES)
    record = RecordFaces(tmp_path / "faces.rec")
    (tmp_path / "local").mkdir()
    write_index(tmp_path / "local.json", write_shards(tmp_path / "local"))
    (tmp_path / "local.classes.txt").write_text("".join(f"person {i}\n" for i in range(8)))

    def batches(faces: FaceSet, num_workers: int) -> Batches:
        order = GlobalOrder(len(faces), batch_size=6, num_epochs=2, seed=3)
        return Batches(
            faces,
            order,
            batch_size=6,
            size=112,
            interpolation="bilinear",
            num_workers=num_workers,
            pin_memory=False,
        )

    expected = list(batches(record, 0))
    # two workers that both want the first shard before any is there
    for spec, num_workers in ((tmp_path / "local.json", 0), (remote_shards(tmp_path), 2)):
        faces = open_faces(spec)
        assert isinstance(faces, ShardFaces)
        assert len(faces) == len(record)
        assert faces.num_classes == record.num_classes
        assert faces.labels.tolist() == LABELS
        for found, batch in zip(batches(faces, num_workers), expected, strict=True):
            assert torch.equal(found.images, batch.images)
            assert torch.equal(found.labels, batch.labels)
            assert torch.equal(found.keys, batch.keys)
    assert open_faces(tmp_path / "local.json").class_names[7] == "person 7"
    assert len(list((tmp_path / "remote.shards").glob("*.tar"))) == 3
    assert not list((tmp_path / "remote.shards").glob(".*"))
    (tmp_path / "store.zip").unlink()  # what was fetched is not asked for again
    assert np.array_equal(open_faces(tmp_path / "remote.json")[31][0], record[31][0])


def test_two_steps_of_training_end_with_the_weights_and_losses_of_the_rec(tmp_path: Path) -> None:
    write_record_faces(tmp_path / "faces.rec", LABELS, IMAGES)
    weights, losses = [], []
    for name, rec in (("rec", tmp_path / "faces.rec"), ("shards", remote_shards(tmp_path))):
        keys = ["batch_size=16", "num_epoch=1", "warmup_epoch=0", "frequent=1", "num_workers=1", "device=cpu"]
        folder = train(load_config(CONFIGS / "demo_hr", [*keys, f"rec={rec}", f"output={tmp_path / name}"]))
        weights.append(torch.load(folder / "model.pt", weights_only=True))
        log = (folder / "train.log").read_text().splitlines()
        losses.append([line.split("  lr")[0].partition(" step ")[2] for line in log if " step " in line])
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read_and_what_is_no_face_left_out(kind: int, tmp_path: Path) -> None:
    folder = "people/" + "a" * 90
    files = [
        (f"{folder}/x.cls", b"0\n"),
        ("notes.json", b"{}"),
        ("one.json", b"{}"),
        ("one.cls", b"0\n"),  # labels may come first
        ("one.png", IMAGES[1]),
        (f"{folder}/two.PNG", IMAGES[2]),
        (f"{folder}/two.mask.png", b"of another kind: a key ends at the first dot"),
        (f"{folder}/two.cls", b"1"),
    ]
    write_tar(tmp_path / "x.tar", files[1:], kind)
    assert write_index(tmp_path / "x.json", [str(tmp_path / "x.tar")]) == (2, 2)
    faces = ShardFaces(tmp_path / "x.json")
    assert faces.labels.tolist() == [0, 1]
    for index, rendered in enumerate((1, 2)):
        assert np.array_equal(faces[index][0], RENDERED[rendered][0])
    assert faces.describe(0) == f"{tmp_path / 'x.tar'}: one.png"
    with pytest.raises(IndexError):
        faces[2]
    write_tar(tmp_path / "x.tar", files, kind)
    with pytest.raises(ValueError, match=r"x\.tar: people/a+/x has a label but no image next to it"):
        write_index(tmp_path / "x.json", [str(tmp_path / "x.tar")])


def test_an_unreadable_image_is_named_by_shard_and_key(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "x.tar", [("a.png", IMAGES[0]), ("a.cls", b"0"), ("b.jpg", b"none"), ("b.cls", b"0")]
    )
    write_index(tmp_path / "x.json", [str(tmp_path / "x.tar")])
    with pytest.raises(CorruptImageError, match=r"x\.tar: b\.jpg: not a readable image \(4 bytes"):
        ShardFaces(tmp_path / "x.json")[1]
    assert np.array_equal(open_faces(tmp_path / "x.json", corrupt="skip")[1][0], RENDERED[0][0])


def test_a_shard_that_is_not_the_one_indexed_is_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path, per_shard=40)
    write_index(tmp_path / "x.json", shards)
    faces = ShardFaces(tmp_path / "x.json")
    whole = Path(shards[0]).read_bytes()
    for changed in (whole[: len(whole) // 2], whole[1536:]):
        Path(shards[0]).write_bytes(changed)
        with pytest.raises(ValueError, match=r"faces-0\.tar: no image of .* changed or cut short"):
            faces[31]
    assert faces.describe(31).endswith(f"image 31 of {tmp_path / 'x.json'}")


def test_a_fetch_that_fails_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    index = remote_shards(tmp_path)
    with zipfile.ZipFile(tmp_path / "store.zip", "w") as store:
        store.writestr("faces-0.tar", b"<html>502 Bad Gateway</html>")
    with pytest.raises(ValueError, match=r"faces-0\.tar.*: 28 bytes came, .*remote\.json says \d+"):
        ShardFaces(index)[0]
    with pytest.raises(OSError, match=r"faces-2\.tar.*: this shard could not be fetched: .*faces-2"):
        ShardFaces(index)[31]
    assert [path.suffix for path in (tmp_path / "remote.shards").iterdir()] == [".lock"] * 2
    index.write_text(index.read_text().replace("zip:", "nowhere:"))
    with pytest.raises(ValueError, match=r"nowhere://.*expected https, s3"):
        ShardFaces(index)[0]


def test_workers_are_sent_the_name_of_the_index_alone(tmp_path: Path) -> None:
    write_index(tmp_path / "x.json", write_shards(tmp_path))
    faces = ShardFaces(tmp_path / "x.json")
    assert faces.labels.tolist() == LABELS
    sent = pickle.dumps(faces)
    assert len(sent) < 500
    assert pickle.loads(sent).fingerprint() == faces.fingerprint()


def test_the_fingerprint_follows_the_images_not_their_place(tmp_path: Path) -> None:
    shards = write_shards(tmp_path)
    write_index(tmp_path / "a.json", shards)
    write_index(tmp_path / "b.json", shards, url="s3://bucket/faces/")
    write_index(tmp_path / "c.json", shards[:2])
    assert (
        json.loads((tmp_path / "b.json").read_text())["shards"][1]["url"] == "s3://bucket/faces/faces-1.tar"
    )
    a, b, c = (ShardFaces(tmp_path / f"{name}.json").fingerprint() for name in "abc")
    (tmp_path / "b.classes.txt").write_text("".join(f"{i} {i}\n" for i in range(8)))
    assert a == b
    assert len({a, c, ShardFaces(tmp_path / "b.json").fingerprint()}) == 3


def test_the_command_indexes_and_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_shards(tmp_path)
    output = ["--output", str(tmp_path / "x.json")]
    assert main(["index-shards", *shards, *output]) == 0
    assert capsys.readouterr().out.endswith("x.json: 32 images of 8 identities in 3 shards\n")

    def refusal(*arguments: str) -> str:
        assert main(["index-shards", *arguments]) == 2
        return capsys.readouterr().err

    assert "no image has label 0, the largest is 7" in refusal(shards[2], *output)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz"):
        pass
    assert "x.tar.gz: not an uncompressed tar" in refusal(str(tmp_path / "x.tar.gz"), *output)
    write_tar(tmp_path / "none.tar", [("a.cls", b"0"), ("a.png", IMAGES[0]), ("b.png", IMAGES[0])])
    assert "none.tar: b has an image but no .cls next to it" in refusal(str(tmp_path / "none.tar"), *output)
    write_tar(tmp_path / "word.tar", [("a.png", IMAGES[0]), ("a.cls", b"Ann")])
    assert "word.tar: a.cls: b'Ann', expected the label in at most 9 digits" in refusal(
        str(tmp_path / "word.tar"), *output
    )
    assert "an index ends in .json" in refusal(*shards, "--output", str(tmp_path / "x.rec"))
    assert len(ShardFaces(tmp_path / "x.json")) == 32  # what was there is still whole


def test_an_index_that_is_none_is_refused(tmp_path: Path) -> None:
    shards = write_shards(tmp_path)
    index = tmp_path / "x.json"
    index.write_text('{"wids_version": 1}')
    with pytest.raises(ValueError, match=r"x\.json: not a 'btnet shard index 1' \('format'\)"):
        open_faces(index)
    write_index(index, shards)
    write_index(tmp_path / "y.json", shards[:2])
    (tmp_path / "y.npy").rename(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"x\.npy: .* but x\.json lists 32 images"):
        open_faces(index)
    (tmp_path / "x.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"x\.npy: missing beside x\.json"):
        open_faces(index)


def test_images_of_other_endings_are_named_and_the_exit_status_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strays = [
        ("0000.seg.png", IMAGES[1]),
        ("0000.gif", b"GIF89a"),
        ("0000.json", b"{}"),
        ("._0000.png", b"a Mac"),
    ]
    write_tar(tmp_path / "x.tar", [*strays[2:], *sample(0), *strays[:2]])
    assert main(["index-shards", str(tmp_path / "x.tar"), "-o", str(tmp_path / "x.json")]) == 3
    out, err = capsys.readouterr()
    assert "1 images of 1 identities" in out
    assert "2 images not taken: 1 of another ending (" in err
    assert "x.tar: 0000.seg.png" in err
    assert "1 GIF, a kind that is not read" in err
    assert "2 other files not taken: 1 no image (" in err
    write_tar(tmp_path / "y.tar", [*strays[2:], *sample(0)])
    assert main(["index-shards", str(tmp_path / "y.tar"), "-o", str(tmp_path / "y.json")]) == 0
