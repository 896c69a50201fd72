"""The native test of an evidence run: what `btnet-lab native-test` does, on its own models and faces."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.data.bin_sets import read_bin
from btnet.data.pairs import stack_faces
from btnet.data.record_faces import RecordFaces
from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.evaluation.verification import kfold_correct
from btnet.files.digest import sha256
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_file import EmbeddingCache
from btnet.serving.loading import load_model
from btnet.serving.results import write_result
from btnet.serving.selection import DEFAULT_STRATEGY
from btnet_lab.evidence.faces import Sets
from btnet_lab.native_test.native_set import capture_pairs
from btnet_lab.native_test.scene import Conditions
from btnet_lab.native_test.selector_fit import fit_selector
from btnet_lab.native_test.strategies import (
    NativeScore,
    embed_natively,
    native_choices,
    native_document,
    score_choices,
)

_REFERENCE: Final = DEFAULT_STRATEGY.label
_LEARNT: Final = ("optical", "fused, max", "fused, optical")


def native_test(
    models: Mapping[str, Sequence[Path]],
    sets: Sets,
    folder: Path,
    results: Path,
    *,
    num_faces: int = 2000,
    seed: int = 0,
    mirror: bool = True,
) -> Path:
    """Measure models on photographed faces of the test people, under every way to choose a network.

    Each model's selector is fitted on photographs of training people. Every learnt choice is compared with max + ceil
    on the same people, and every other model with the first two, choice by choice.

    Args:
        models: name in the table -> run folders, whose branches are joined; a trunk alone is one folder or file.
        sets: of the run.
        folder: of the run; the selectors are kept below it.
        results: folder of the result files.
        num_faces: of training people, to fit a selector on.
        seed: of everything random.
        mirror: add the embedding of the mirror image.

    Returns:
        The result file. One that was made of the same networks, faces and seed is left as it is.
    """
    loaded = [join_branches(name, runs) for name, runs in models.items()]
    path = results / NATIVE / f"{NATIVE}.json"
    of = made_of(loaded, sets, seed, num_faces=num_faces, mirror=mirror, conditions=asdict(Conditions()))
    if is_made(path, of):
        return path
    images, issame, people = pairs_of_strangers(sets)
    pairs = capture_pairs(images, issame, Conditions(), seed=seed, source=sets.bin(TEST).name)
    faces = training_faces(sets, num_faces, seed)
    (folder / NATIVE).mkdir(parents=True, exist_ok=True)
    store = EmbeddingCache(folder / "embeddings")  # models share networks
    scores: dict[str, list[NativeScore]] = {}
    selectors: dict[str, Any] = {}
    for model in loaded:
        name, views = model.name, model.views
        selector = None
        if len(model.resolutions) > 1:
            selector = fit_selector(faces, model, seed=seed, interpolation=views, embed=store)
            selector.save(folder / NATIVE / f"{_slug(name)}.selector.json")
            selectors[name] = {"cuts": {str(r): cut for r, cut in selector.cuts.items()}}
        gallery, probes = embed_natively(model, pairs, interpolation=views, mirror=mirror, embed=store)
        choices = native_choices(pairs, model.resolutions, selector)
        scores[name] = score_choices(gallery, probes, pairs, choices)
    document = native_document(
        pairs,
        scores,
        loaded,
        [model.name for model in loaded],
        name=TEST,
        checksum=pairs.digest(),
        interpolation=", ".join(sorted({model.views for model in loaded})),
        mirror=mirror,
        selector=selectors,
    )
    document |= {"made_of": of, "comparisons": _compare(scores, issame, people)}
    write_result(path, document)
    return path


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _compare(
    scores: Mapping[str, Sequence[NativeScore]], issame: NDArray[np.bool_], people: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Each choice against max + ceil, and each model against the first two (the trunk, plain phi_bt) at the same."""
    right = {
        (name, score.choice): kfold_correct(score.scores, issame)
        for name, of_model in scores.items()
        for score in of_model
    }
    names = list(scores)
    asked = [
        ((name, c), (name, _REFERENCE)) for name, c in right if c in _LEARNT and (name, _REFERENCE) in right
    ]
    asked += [
        ((name, c), (other, c))
        for number, other in enumerate(names[:2])
        for name, c in itertools.product(names[number + 1 :], (_REFERENCE, *_LEARNT))
        if (name, c) in right and (other, c) in right
    ]
    return [
        {
            "first": ", ".join(first),
            "second": ", ".join(second),
            **asdict(paired_bootstrap(right[first], right[second], issame, people)),
        }
        for first, second in asked
    ]


NATIVE: Final = "native"
"""Folder of the result files below the run's results, and of selectors below the run."""

TEST: Final = "test"
_LEARN: Final = "train"


Pairs = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]


def pairs_of_strangers(sets: Sets, count: int | None = None) -> Pairs:
    """The first `count` pairs of people never trained on; None: all.

    Returns:
        Images, uint8 RGB [2 P, 112, 112, 3], pair i being images 2 i and 2 i + 1; whether a pair shows one person,
        bool [P]; and who they show, int64 [P, 2].
    """
    images, issame = read_bin(sets.bin(TEST))
    people = np.load(sets.identities(TEST), allow_pickle=False)
    return images[: None if count is None else 2 * count], issame[:count], people[:count]


def join_branches(name: str, runs: Sequence[Path]) -> FaceModel:
    """Branches that were trained alone, as one model.

    Args:
        name: of the model.
        runs: run folders on one trunk, each resolution once; or a trunk alone, as one folder or file.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the runs have different trunks or views, or two have a branch for one size.
    """
    if len(runs) == 1:
        return replace(load_model(runs[0]), name=name)
    models = [BTNet.load(run) for run in runs]
    overlays = {}
    for run, model in zip(runs, models, strict=True):
        for resolution in model.resolutions:
            if resolution in overlays:
                raise ValueError(f"{run}: a second branch for {resolution} px; give one run for each size")
            overlays[resolution] = model.overlay(resolution)
    views = models[0].interpolation
    joined = BTNet(
        models[0].trunk,
        overlays,
        tail_from={r: overlay.tail_from for r, overlay in overlays.items()},
        inner_size={r: overlay.inner_size for r, overlay in overlays.items()},
        interpolation=views,
    )
    for overlay in overlays.values():
        joined.load_overlay(overlay)  # refuses another trunk, and other views
    return FaceModel.of(joined.eval(), name, role=name)


def training_faces(sets: Sets, count: int, seed: int) -> NDArray[np.uint8]:
    """Some faces of the people to train on, in random order, uint8 RGB [N, 112, 112, 3]."""
    faces = RecordFaces(sets.rec(_LEARN))
    return stack_faces(faces, np.random.default_rng(seed).permutation(len(faces))[:count])


def made_of(models: Sequence[FaceModel], sets: Sets, seed: int, **settings: Any) -> dict[str, Any]:
    """All that decides a result, as JSON gives it back."""
    found = {
        "networks": {
            model.name: {str(r): model.fingerprint(r) for r in model.resolutions} for model in models
        },
        "learn": RecordFaces(sets.rec(_LEARN)).fingerprint(),
        "test": sha256(sets.bin(TEST)),
        "seed": seed,
        **settings,
    }
    return dict(json.loads(json.dumps(found)))


def is_made(path: Path, of: Mapping[str, Any]) -> bool:
    """Whether the result file is there, and was made of the same."""
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("made_of") == of
