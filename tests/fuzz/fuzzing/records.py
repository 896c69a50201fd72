"""Targets: `.rec` and `.idx`, and faces in tar shards with their index."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from btnet.data.record_faces import RecordFaces, write_record_faces
from btnet.data.recordio import Header, RecordWriter
from btnet.data.shard_faces import ShardFaces
from btnet.data.shard_index import write_index
from btnet.images.codec import encode_png
from btnet.synthetic.faces import SyntheticFaces
from fuzzing.mutators import damage, damage_json
from fuzzing.target import Change, Target, WrongAnswerError, plain

_NUM_CLASSES, _IMAGES_EACH = 4, 3


def _pictures() -> list[bytes]:
    faces = SyntheticFaces(_NUM_CLASSES, _IMAGES_EACH, seed=5)
    # Small and without loss: damage reaches headers more often, and equal pixels are equal bytes.
    return [encode_png(np.ascontiguousarray(faces[i][0][::7, ::7])) for i in range(len(faces))]


def _labels() -> list[int]:
    return [label for label in range(_NUM_CLASSES) for _ in range(_IMAGES_EACH)]


def _make_records(folder: Path) -> None:
    pictures, labels = _pictures(), _labels()
    for name in ("announced", "bare"):
        (folder / name).mkdir(exist_ok=True)
    names = [f"person {label}" for label in range(_NUM_CLASSES)]
    write_record_faces(folder / "announced" / "faces.rec", labels, pictures, class_names=names)
    with RecordWriter(folder / "bare" / "faces.rec") as writer:
        for key, (label, picture) in enumerate(zip(labels, pictures, strict=True)):
            written: Any = np.array([label, 7.0], np.float32) if key % 2 else float(label)
            writer.write(key, Header(0, written, key), picture)


def _read_records(folder: Path) -> Any:
    faces = RecordFaces(folder / "faces.rec")
    if faces.num_classes > 1 << 24:
        raise WrongAnswerError(f"{faces.num_classes} classes")
    read = {int(key): plain((faces[i][0], faces[i][1])) for i, key in enumerate(faces._keys)}
    for i, label in enumerate(faces.labels.tolist()):
        if faces[i][1] != label or not 0 <= label < faces.num_classes:
            raise WrongAnswerError(
                f"image {i} has label {faces[i][1]} when read, {label} in the list of labels"
            )
    return read, tuple(faces.class_names) if faces.num_classes < 1000 else faces.num_classes


def _judge_record(original: Any, found: Any, change: Change) -> None:
    """Records whose bytes were not touched must be as they were."""
    offsets = _offsets(change)
    ends = [*sorted(offsets.values())[1:], len(change.before)]
    for (key, start), end in zip(sorted(offsets.items(), key=lambda item: item[1]), ends, strict=True):
        untouched = change.after[start:end] == change.before[start:end]
        if untouched and key in found[0] and key in original[0] and found[0][key] != original[0][key]:
            raise WrongAnswerError(f"record {key} was not touched and reads otherwise")


def _offsets(change: Change) -> dict[int, int]:
    """Of the undamaged file, found again from its own framing."""
    import struct

    offsets, place, key = {}, 0, 0
    while place < len(change.before):
        offsets[key] = place
        [word] = struct.unpack_from("<I", change.before, place + 4)
        length = word & (1 << 29) - 1
        place += 8 + length + -length % 4
        if word >> 29 in (0, 3):
            key += 1
    return offsets


def _judge_index(original: Any, found: Any, change: Change) -> None:
    """A changed index may lead to another record, and that brings its own label: no picture gets another's."""
    pairs = set(original[0].values())
    for key, pair in found[0].items():
        if pair not in pairs:
            raise WrongAnswerError(f"key {key} reads as a picture and label that are not in the file")


def _make_shards(folder: Path) -> None:
    seed = folder / "shards"
    seed.mkdir(exist_ok=True)
    labels = _labels()
    for number in range(2):
        with tarfile.open(seed / f"{number}.tar", "w") as archive:
            for i, picture in enumerate(_pictures()):
                if i % 2 == number:
                    for ending, data in (("png", picture), ("cls", str(labels[i]).encode())):
                        info = tarfile.TarInfo(f"{i:04}.{ending}")
                        info.size = len(data)
                        archive.addfile(info, io.BytesIO(data))
    write_index(seed / "faces.json", [str(seed / f"{number}.tar") for number in range(2)])


def _read_shards(folder: Path) -> Any:
    faces = ShardFaces(folder / "faces.json")
    labels = faces.labels.tolist()
    for label in labels:
        if not 0 <= label < faces.num_classes:
            raise WrongAnswerError(f"label {label} of {faces.num_classes} classes")
    return tuple(plain(faces[i]) for i in range(len(faces))), tuple(faces.class_names)


def _judge_shards(original: Any, found: Any, change: Change) -> None:
    """What a tar holds is read as it is; where images lie is in the index, and is checked against the tar."""
    if not change.file.endswith(".tar") and change.file != "faces.npy":
        pictures = {picture for picture, _ in original[0]}
        if any(picture not in pictures for picture, _ in found[0]):
            raise WrongAnswerError("a picture that is in no shard")


def _read_tar(folder: Path) -> Any:
    # What the index tool does, without leaving an index behind for the next case.
    from btnet.data import shard_index
    from btnet.data.found_images import FoundImages

    found, num_bytes = shard_index._scan(str(folder / "0.tar"), set(), FoundImages(folder))
    return plain(found), num_bytes


def _accept(original: Any, found: Any, change: Change) -> None:
    """Whatever is well formed."""


TARGETS = (
    Target(
        ".rec records", _make_records, _read_records, ("faces.rec",),
        limit="label, key and JPEG pixels of the record that was changed: RecordIO has no checksum",
        judge=_judge_record,
    ),
    Target(
        ".idx index", _make_records, _read_records, ("faces.idx",),
        limit="which record a key leads to, and keys lost from a set without record 0; a picture keeps its label",
        judge=_judge_index,
    ),
    Target(
        "shard index", _make_shards, _read_shards, ("faces.json", "faces.npy"),
        limit="labels in the .npy, which has no checksum", judge=_judge_shards, mutators=(damage, damage_json),
    ),
    Target(
        "tar shard, read", _make_shards, _read_shards, ("*.tar",),
        limit="nothing beyond the header of a member: a tar has no checksum of contents (a PNG has)",
        judge=_judge_shards,
    ),
    Target(
        "tar shard, indexed", _make_shards, _read_tar, ("0.tar",),
        limit="labels: a .cls is digits without a checksum", judge=_accept,
    ),
)  # fmt: skip
