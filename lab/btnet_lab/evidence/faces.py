"""The data sets of an evidence run, for training, tuning and testing; made once and recorded.

train.rec      what the rows of the tables train on             test.bin      what they are measured on
part.rec       the part of train.rec that tuning trains on      choice.bin    what it is measured on: other people
train_1of2.rec ... nested parts of the people of train.rec

Each .rec has X.classifier.safetensors (the trunk's prototypes) beside it, each .bin X.identities.npy. split.json tells
who is where.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.data.bin_sets import write_bin
from btnet.data.face_list import list_folder, read_face_list
from btnet.data.faces import open_faces
from btnet.data.packing import pack_faces, pack_pairs
from btnet.data.pair_list import read_pairs_of_list
from btnet.data.record_faces import RecordFaces, write_record_faces
from btnet.files.text import plain_name
from btnet.loss import load_classifier, save_classifier
from btnet.serving.results import write_result
from btnet.training.classifiers import write_classifier
from btnet.training.distributed import distributed_context
from btnet.training.prototypes import embed_prototypes
from btnet_lab.evidence.split import TOO_CLOSE, nested_part, split_identities, verification_pairs

PARTS = (2, 4, 8)
"""One of so many: the identities of the learning curve's smaller sets."""

_TEST_SHARE, _CHOICE_SHARE = 0.2, 0.25
_PAIRS_PER_IDENTITY, _MOST_PAIRS = 10, 6000
_SPLIT = "split.json"


@dataclass(frozen=True)
class Source:
    """The user's trunk and faces.

    Attributes:
        trunk: the pretrained trunk's file or run folder.
        faces: a .rec file, a folder of identity folders, or where the names of the two lists start.
        train_list: lines `archive/identity/name.jpg label`; None: people are split by `seed`.
        test_pairs: lines `face face same`; given together with `train_list`.
        seed: of all splits and pairs.
        too_close: cosine of two prototypes from which on two people may be one.
    """

    trunk: Path
    faces: Path
    train_list: Path | None = None
    test_pairs: Path | None = None
    seed: int = 0
    too_close: float = TOO_CLOSE


@dataclass(frozen=True)
class Sets:
    """The sets in a folder."""

    folder: Path

    def rec(self, name: str) -> Path:
        """A set to learn from: "train", "part", "train_1of8" ..."""
        return self.folder / f"{name}.rec"

    def classifier(self, name: str) -> Path:
        """The trunk's prototypes of its people."""
        return self.folder / f"{name}.classifier.safetensors"

    def bin(self, name: str) -> Path:
        """A set to measure on: "test" or "choice"."""
        return self.folder / f"{name}.bin"

    def identities(self, name: str) -> Path:
        """Who its pairs show, int64 [P, 2]."""
        return self.folder / f"{name}.identities.npy"

    def about(self) -> dict[str, Any]:
        """How the sets were made: seed, counts, names of the people by set."""
        return dict(json.loads((self.folder / _SPLIT).read_text(encoding="utf-8")))


def prepare(source: Source, folder: Path) -> Sets:
    """Make the data sets, unless they are there."""
    sets = Sets(folder)
    trunk = fingerprint(load_trunk(source.trunk).state_dict())
    made_of = {
        "trunk_fingerprint": trunk,
        "faces": str(source.faces.resolve()),
        "lists": [str(p.resolve()) for p in (source.train_list, source.test_pairs) if p is not None],
        "seed": source.seed,
        "too_close": source.too_close,
    }
    if (folder / _SPLIT).is_file():
        found = sets.about()["made_of"]
        if found != made_of:
            raise ValueError(
                f"{folder}: its sets were made of {found}, and asked for is {made_of}; choose another folder with "
                "`btnet-lab evidence --output`"
            )
        return sets
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"made_of": made_of}
    if source.train_list is not None and source.test_pairs is not None:
        _of_lists(source, source.train_list, source.test_pairs, sets)
    else:
        about["test"] = _of_own_faces(source, sets)
    about["choice"] = _split(sets, "train", "part", "choice", source, _CHOICE_SHARE)
    for denominator in PARTS:
        faces = RecordFaces(sets.rec("train"))
        kept = nested_part(faces.num_classes, denominator, seed=source.seed)
        _write_part(sets, "train", f"train_1of{denominator}", kept)
    write_result(folder / _SPLIT, about)
    return sets


def identities_of_pairs(names: Sequence[str]) -> NDArray[np.int64]:
    """Number the people of a list of pairs: int64 [P, 2].

    Args:
        names: faces of pair i at 2 i and 2 i + 1, `.../identity/name.jpg`, or `identity_0001.jpg`, all in one folder.
    """
    folders, images = zip(*(plain_name(name).rpartition("/")[::2] for name in names), strict=True)
    people = folders if len(set(folders)) > 1 else [image.rpartition("_")[0] for image in images]
    _, numbers = np.unique(people, return_inverse=True)
    return np.asarray(numbers, dtype=np.int64).reshape(-1, 2)


def _of_lists(source: Source, train_list: Path, test_pairs: Path, sets: Sets) -> None:
    pack_faces(read_face_list(train_list, source.faces), sets.rec("train"))
    names, issame, _ = read_pairs_of_list(test_pairs, source.faces)
    pack_pairs(names, issame, sets.bin("test"), root=source.faces, source=test_pairs)
    np.save(sets.identities("test"), identities_of_pairs(names))
    _build_classifier(source, sets, "train")


def _of_own_faces(source: Source, sets: Sets) -> dict[str, Any]:
    """Split somebody's faces, all of which are in one set."""
    if source.faces.is_dir():
        pack_faces(list_folder(source.faces), sets.rec("all"))
    else:
        for ending in (".rec", ".idx", ".classes.txt"):
            link, original = sets.rec("all").with_suffix(ending), source.faces.with_suffix(ending)
            link.unlink(missing_ok=True)
            if original.is_file():
                link.symlink_to(original.resolve())
    _build_classifier(source, sets, "all")
    return _split(sets, "all", "train", "test", source, _TEST_SHARE)


def _build_classifier(source: Source, sets: Sets, name: str) -> None:
    with distributed_context() as context:
        faces = open_faces(str(sets.rec(name)))
        trunk = load_trunk(source.trunk).to(context.device)
        write_classifier(sets.classifier(name), embed_prototypes(faces, trunk, context), faces, trunk)


def _split(sets: Sets, whole: str, train: str, test: str, source: Source, share: float) -> dict[str, Any]:
    faces = RecordFaces(sets.rec(whole))
    prototypes = load_classifier(sets.classifier(whole)).weight.numpy()
    split = split_identities(prototypes, share=share, seed=source.seed, limit=source.too_close)
    _write_part(sets, whole, train, split.train)
    images = np.flatnonzero(np.isin(faces.labels, split.test))
    labels = faces.labels[images]
    positions, issame = verification_pairs(
        labels, per_identity=_PAIRS_PER_IDENTITY, largest=_MOST_PAIRS, seed=source.seed
    )
    write_bin(sets.bin(test), [faces.encoded(int(images[i])) for i in positions], issame)
    np.save(sets.identities(test), labels[positions].reshape(-1, 2))
    names = np.array(faces.class_names, dtype=object)
    return {
        "num_pairs": len(issame),
        "people": names[split.test].tolist(),
        "dropped": names[split.dropped].tolist(),
    }


def _write_part(sets: Sets, whole: str, part: str, kept: NDArray[np.int64]) -> None:
    """Pack the images of some people, and their rows of the classifier."""
    faces, classifier = RecordFaces(sets.rec(whole)), load_classifier(sets.classifier(whole))
    images = np.flatnonzero(np.isin(faces.labels, kept))
    images = images[np.argsort(faces.labels[images], kind="stable")]
    labels = np.searchsorted(kept, faces.labels[images])
    names = [faces.class_names[label] for label in kept]
    write_record_faces(
        sets.rec(part), labels.tolist(), (faces.encoded(int(i)) for i in images), class_names=names
    )
    save_classifier(
        sets.classifier(part),
        classifier.weight[kept],
        names,
        trunk_fingerprint=classifier.trunk_fingerprint,
        data_fingerprint=RecordFaces(sets.rec(part)).fingerprint(),
    )
