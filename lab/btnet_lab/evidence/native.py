"""The native test and the camera test of an evidence run, by the code of `native-test` and `adapt-camera`."""

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
from btnet.evaluation.rates import measurable
from btnet.evaluation.verification import kfold_accuracy, kfold_correct, pair_scores, roc_auc, tar_at_fars
from btnet.files.digest import sha256
from btnet.method.btnet import BTNet
from btnet.serving.crops import fit_crops
from btnet.serving.embedding import embed_images
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_file import EmbeddingCache
from btnet.serving.loading import load_model
from btnet.serving.results import plain, result_document, write_result
from btnet.serving.selection import DEFAULT_STRATEGY, selected_sizes
from btnet_lab.evidence.faces import Sets
from btnet_lab.evidence.join import join_branches
from btnet_lab.native_test.camera import adapted_statistics
from btnet_lab.native_test.capture import capture_faces, capture_pairs
from btnet_lab.native_test.report import native_document
from btnet_lab.native_test.scene import Conditions
from btnet_lab.native_test.selector_fit import fit_selector
from btnet_lab.native_test.strategies import (
    FARS,
    NativeScore,
    embed_natively,
    native_choices,
    score_choices,
)

__all__ = ["CAMERAS", "NATIVE", "camera_test", "native_test"]

NATIVE: Final = "native"
"""Folder of the result files below the run's results, and of models and selectors below the run."""

CAMERAS: Final = {
    "as the native test": Conditions(optical_px=(6, 13), oversampling=(1, 2)),
    "dim, warm, noisy": Conditions(
        optical_px=(6, 13), oversampling=(1, 2), gamma=(1.8, 2.2), noise=(5, 8), tint=(1.15, 1.25)
    ),
    "hazy, blue, much compressed": Conditions(
        optical_px=(6, 13), oversampling=(1, 2), gamma=(0.5, 0.6), tint=(0.8, 0.85), jpeg_quality=(25, 35)
    ),
    "out of focus": Conditions(optical_px=(6, 9), oversampling=(2, 2.5)),
}
"""Small faces only: the trunk, which no camera may move, sees none of them."""

_LEARN, _TEST = "train", "test"
_PAIRS_OF_CAMERA = 1000
_FACES_OF_CAMERA: Final = (32, 128, 512)
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
    """Measure models on photographed faces of the people tested on, under every choice of networks.

    Each model's selector is fitted on faces of the people to train on. Every other choice is compared with max + ceil
    on the same people, and every other model with the first two, choice by choice.

    Args:
        models: name in the table -> run folders, whose branches are joined; a trunk alone is one folder or file.
        sets: of the run.
        folder: of the run; joined models and selectors are kept below it.
        results: folder of the result files.
        num_faces: of people to train on, to fit a selector.
        seed: of all draws.
        mirror: add the embedding of the mirror image.

    Returns:
        The result file. One that was made of the same networks, faces and seed is left as it is.

    Raises:
        ValueError, FileNotFoundError: as `join_branches`, `load_model`, `fit_selector` and `embed_natively`.
    """
    loaded = {name: _load(name, runs, folder / NATIVE) for name, runs in models.items()}
    path = results / NATIVE / f"{NATIVE}.json"
    made_of = {
        **_made_of(loaded, sets, seed),
        "num_faces": num_faces,
        "mirror": mirror,
        "conditions": _plain(asdict(Conditions())),
    }
    if _is_made(path, made_of):
        return path
    images, issame = read_bin(sets.bin(_TEST))
    people = np.load(sets.identities(_TEST), allow_pickle=False)
    pairs = capture_pairs(images, issame, Conditions(), seed=seed, source=sets.bin(_TEST).name)
    faces = _drawn(RecordFaces(sets.rec(_LEARN)), num_faces, seed)
    store = EmbeddingCache(folder / "embeddings")  # models share networks
    scores: dict[str, list[NativeScore]] = {}
    selectors: dict[str, Any] = {}
    for name, model in loaded.items():
        views = model.views
        selector = None
        if len(model.resolutions) > 1:
            selector = fit_selector(faces, model, seed=seed, interpolation=views, embed=store)
            selector.save(folder / NATIVE / f"{_slug(name)}.selector.json")
            selectors[name] = {"cuts": {str(r): cut for r, cut in selector.cuts.items()}}
        embeddings = embed_natively(model, pairs, interpolation=views, mirror=mirror, embed=store)
        choices = native_choices(pairs, embeddings.resolutions, selector)
        scores[name] = score_choices(embeddings, pairs, choices)
    document = native_document(
        pairs,
        scores,
        list(loaded.values()),
        list(loaded),
        name=_TEST,
        checksum=pairs.digest(),
        interpolation=", ".join(sorted({model.views for model in loaded.values()})),
        mirror=mirror,
        selector=selectors,
    )
    document["made_of"] = made_of
    document["comparisons"] = _compare(scores, issame, people)
    write_result(path, document)
    return path


def camera_test(
    model: Sequence[Path],
    sets: Sets,
    folder: Path,
    results: Path,
    *,
    num_faces: int = 1500,
    seed: int = 0,
    cameras: Mapping[str, Conditions] = CAMERAS,
) -> Path:
    """Measure what a camera's own statistics add: from unlabelled faces of other people, taken by the same camera.

    Args:
        model: run folders whose branches are joined.
        sets: of the run.
        folder: of the run.
        results: folder of the result files.
        num_faces: photographed of people to train on, unlabelled; the counts in the table are of each branch, as far
            as they reach.
        seed: of all draws.
        cameras: by name.

    Returns:
        The result file; made anew only where networks, faces or settings differ.

    Raises:
        ValueError, FileNotFoundError: as `native_test`; or if the model has no branches.
    """
    loaded = _load("phi_bt", model, folder / NATIVE)
    network = loaded.module
    if not isinstance(network, BTNet):
        raise ValueError(f"{model[0]}: has no branches, and the trunk must not move")
    path = results / NATIVE / "camera.json"
    made_of = {
        **_made_of({"phi_bt": loaded}, sets, seed),
        "num_pairs": _PAIRS_OF_CAMERA,
        "num_faces": num_faces,
        "cameras": {name: _plain(asdict(conditions)) for name, conditions in cameras.items()},
    }
    if _is_made(path, made_of):
        return path
    images, issame = read_bin(sets.bin(_TEST))
    images, issame = images[: 2 * _PAIRS_OF_CAMERA], issame[:_PAIRS_OF_CAMERA]
    people = np.load(sets.identities(_TEST), allow_pickle=False)[:_PAIRS_OF_CAMERA]
    faces = _drawn(RecordFaces(sets.rec(_LEARN)), num_faces, seed)
    views = loaded.views
    gallery = embed_images(network.trunk, images[::2], interpolation=views, mirror=True)
    own = {r: network.bn_set(r) for r in network.resolutions}
    found, comparisons = [], []
    for name, conditions in cameras.items():
        probes = [face.crop for face in capture_faces(images[1::2], conditions, seed=seed)]
        strangers = [face.crop for face in capture_faces(faces, conditions, seed=seed + 1)]
        chosen = selected_sizes(loaded, strangers, DEFAULT_STRATEGY)
        decisions = {}
        for count in (0, *_FACES_OF_CAMERA):
            adapted, num_bytes = {}, 0
            for r in network.resolutions if count else ():
                rows = np.flatnonzero(chosen == r)[:count]
                if len(rows) < min(count, _FACES_OF_CAMERA[0]):
                    continue
                views_of_camera = fit_crops([strangers[row] for row in rows], r, views)
                measured = adapted_statistics(network, r, views_of_camera)
                adapted[r] = own[r] | measured
                num_bytes += sum(tensor.nbytes for tensor in measured.values())
            for r, bn_set in adapted.items():
                network.load_bn_set(r, bn_set)
            sizes = selected_sizes(loaded, probes, DEFAULT_STRATEGY)
            embeddings = loaded.embed(probes, sizes, mirror=True)
            for r in adapted:
                network.load_bn_set(r, own[r])
            accuracy, std = kfold_accuracy(gallery, embeddings, issame)
            scores = pair_scores(gallery, embeddings)
            decisions[count] = kfold_correct(scores, issame)
            found.append(
                {
                    "model": "phi_bt",
                    "camera": name,
                    "num_faces": count,
                    "adapted": sorted(adapted),
                    "bytes_stored": num_bytes,
                    "accuracy": accuracy,
                    "std": std,
                    "tar_at_far": plain(measurable(tar_at_fars(scores, issame, FARS), int((~issame).sum()))),
                    "auc": roc_auc(scores, issame),
                }
            )
        most = _FACES_OF_CAMERA[-1]
        difference = paired_bootstrap(decisions[most], decisions[0], issame, people)
        comparisons.append(
            {"first": f"{name}: {most} faces", "second": "the branches' own", **asdict(difference)}
        )
    document = result_document(
        "camera",
        protocol="gallery at 112 px by the trunk, probes of one camera, image plus mirror, max + ceil, 10 folds",
        interpolation=views,
        models=[{"name": "phi_bt", "path": "phi_bt", "networks": made_of["networks"]["phi_bt"]}],
        sets=[{"name": _TEST, "sha256": sha256(sets.bin(_TEST)), "num_pairs": len(issame), "results": found}],
    )
    document |= {"made_of": made_of, "comparisons": comparisons}
    write_result(path, document)
    return path


def _load(name: str, runs: Sequence[Path], folder: Path) -> FaceModel:
    one = runs[0] if len(runs) == 1 else join_branches(runs, folder / _slug(name), role=name)
    return replace(load_model(one), name=name)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _drawn(faces: RecordFaces, count: int, seed: int) -> NDArray[np.uint8]:
    """Some faces of a set, in random order."""
    return stack_faces(faces, np.random.default_rng(seed).permutation(len(faces))[:count])


def _made_of(models: Mapping[str, FaceModel], sets: Sets, seed: int) -> dict[str, Any]:
    return {
        "networks": {
            name: {str(r): model.fingerprint(r) for r in model.resolutions} for name, model in models.items()
        },
        "learn": RecordFaces(sets.rec(_LEARN)).fingerprint(),
        "test": sha256(sets.bin(_TEST)),
        "seed": seed,
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: lists for tuples."""
    return dict(json.loads(json.dumps(values)))


def _is_made(path: Path, made_of: Mapping[str, Any]) -> bool:
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("made_of") == made_of


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
