"""A job's result file: what `btnet evaluate` writes, and the cost of its training. No face, no name, no path."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.data.bin_sets import read_bin
from btnet.evaluation.verification import kfold_accuracy, kfold_correct
from btnet.files.digest import sha256
from btnet.files.text import read_json
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_file import EmbeddingCache
from btnet.serving.loading import load_model
from btnet.serving.results import write_result
from btnet.serving.verification_report import SetResults, verification_document
from btnet.serving.verify import Pair, pair_label, verify
from btnet_lab.evidence.plan import Job, Sweep
from btnet_lab.report.results import number, read_results

_MORE = "evidence"


@dataclass
class Cost:
    """What a job took.

    Attributes:
        seconds: on the wall, training alone, over all attempts.
        cpu_seconds: of all threads and loader processes.
        attempts: more than one where it was interrupted; a killed attempt's time is not in the sums.
        num_images: seen in training.
        device: that learnt: "cpu", or the GPU's name.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    attempts: int = 0
    num_images: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class Record:
    """A result file, read.

    Attributes:
        digest: of all that decided what was learnt.
        name: of the row.
        seed: of the run.
        order: of the row in its plan, and so in tables.
        places: table -> what it is called there.
        resolution: of its branch in px; 0: a trunk.
        accuracy: by pair ("112&14"), in [0, 1].
        settings: the resolved configuration, without paths.
        data: set, number of images and of identities.
        cost: see `Cost`.
        num_learnt: parameters that learnt.
        num_parameters: of the trunk.
        bytes_stored: beside the trunk; for a trunk, of itself.
        old_gallery: accuracy by pair where the gallery stays as the given trunk embedded it at 112 px.
        judged_rightly: by pair, whether each pair of faces was, bool [P] (`kfold_correct`).
    """

    digest: str
    name: str
    seed: int
    order: int
    places: dict[str, str]
    resolution: int
    accuracy: dict[str, float]
    settings: dict[str, Any]
    data: dict[str, Any]
    cost: Cost
    num_learnt: int
    num_parameters: int
    bytes_stored: int
    old_gallery: dict[str, float]
    judged_rightly: dict[str, NDArray[np.bool_]]


_KEYS = tuple(field.name for field in fields(Record) if field.name != "accuracy")


def measure(
    job: Job,
    model_path: Path,
    given_trunk: Path,
    test: Path,
    pairs: Sequence[Pair],
    result: Path,
    *,
    store: EmbeddingCache,
    interpolation: str,
    device: torch.device,
    about: Mapping[str, Any],
) -> dict[str, float]:
    """Verify a job's model and write its result file.

    `given_trunk` embedded the existing gallery. `about` is what `Record` keeps of the training: "settings", "cost",
    "data", "order" and "digest".

    Returns:
        Accuracy by pair.
    """
    model, old = replace(load_model(model_path), name=job.name), load_model(given_trunk)
    for each in (model, old):
        each.to(device)
    images, issame = read_bin(test)
    found = verify(model, images, issame, pairs, interpolation=interpolation, embed=store)
    document = verification_document(
        [SetResults(test, sha256(test), issame, {job.name: found})], pairs, [model], [job.name], interpolation
    )
    document[_MORE] = {
        "name": job.row.name,
        "seed": job.seed,
        "places": dict(job.row.places),
        "resolution": job.row.resolution,
        **about,
        **_sizes(job, model),
        "old_gallery": _old_gallery(old, model, images, issame, pairs, store, interpolation),
        "judged_rightly": {each.label: _to_text(kfold_correct(each.scores, issame)) for each in found},
    }
    write_result(result, document)
    return {each.label: each.accuracy for each in found}


def read_records(folder: Path) -> list[Record]:
    """All result files of a folder, in the order of the plan."""
    return sorted(
        map(_read, folder.glob("*.json")), key=lambda record: (record.order, record.name, record.seed)
    )


def choose(sweep: Sweep, records: Iterable[Record]) -> dict[str, Any] | None:
    """The best settings of a sweep, by the people kept for tuning.

    Returns:
        Key -> value, by the mean accuracy over all pairs but 112&112 (the first of equals); None before a row was
        measured.
    """
    by_name = {record.name: record for record in records}
    best, chosen = -math.inf, None
    for row in sweep.rows():
        record = by_name.get(row.name)
        if record is not None and (score := mean_accuracy(record)) > best:
            best, chosen = score, {key: row.settings[key] for key in sweep.grid}
    return chosen


def mean_accuracy(record: Record) -> float:
    """Over all pairs but those of the canonical size alone."""
    return float(np.mean([value for pair, value in record.accuracy.items() if pair != "112&112"]))


def _old_gallery(
    old: FaceModel,
    new: FaceModel,
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    pairs: Sequence[Pair],
    store: EmbeddingCache,
    interpolation: str,
) -> dict[str, float]:
    """Accuracy of the new model's probes against the old one's gallery of canonical size."""
    found = {}
    for pair in pairs:
        if pair[0] != old.canonical_size or pair[1] is None or new.choose(pair[1]) is None:
            continue
        left, right = (
            model.embed(faces, size, interpolation=interpolation, mirror=True, embed=store)
            for model, faces, size in ((old, images[::2], pair[0]), (new, images[1::2], pair[1]))
        )
        found[pair_label(pair)] = kfold_accuracy(left, right, issame)[0]
    return found


def _to_text(judged: NDArray[np.bool_]) -> str:
    """Bits in base64: 500 characters for 3 000 pairs."""
    return base64.b64encode(np.packbits(judged).tobytes()).decode("ascii")


def _from_text(text: str, num_pairs: int) -> NDArray[np.bool_]:
    bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
    return np.unpackbits(bits, count=num_pairs).astype(np.bool_)


def _sizes(job: Job, model: FaceModel) -> dict[str, int]:
    network = model.module
    trunk = network.trunk if isinstance(network, BTNet) else network
    num_trunk = sum(p.numel() for p in trunk.parameters())
    if isinstance(network, BTNet):
        overlays = [network.overlay(r) for r in network.resolutions]
        learnt, stored = sum(o.num_learnt for o in overlays), sum(o.num_bytes for o in overlays)
    else:
        learnt = num_trunk if job.row.config else 0
        stored = sum(t.numel() * t.element_size() for t in trunk.state_dict().values())
    return {"num_learnt": learnt, "num_parameters": num_trunk, "bytes_stored": stored}


def _read(path: Path) -> Record:
    file = read_results(path)
    document = read_json(path)
    more = document.get(_MORE)
    if not isinstance(more, dict):
        raise ValueError(f"{path}: has no entry {_MORE!r}; expected what `btnet-lab evidence` writes")
    if missing := [key for key in _KEYS if key not in more]:
        raise ValueError(
            f"{path}: {', '.join(missing)} missing; it was written by an older version, run it again"
        )
    accuracy = {
        pair_label(tuple(entry["pair"])): value
        for entry in file.sets[0].results
        if (value := number(entry.get("accuracy"))) is not None
    }
    judged = {
        pair: _from_text(text, file.sets[0].facts["num_pairs"])
        for pair, text in more["judged_rightly"].items()
    }
    known = {key: more[key] for key in _KEYS} | {"cost": Cost(**more["cost"]), "judged_rightly": judged}
    return Record(**known, accuracy=accuracy)
