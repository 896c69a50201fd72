"""The native test of an evidence run: what `btnet-lab native-test` does, on the run's own models and faces."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.evaluation.verification import kfold_correct
from btnet.serving.feature_file import EmbeddingCache
from btnet.serving.results import write_result
from btnet.serving.selection import DEFAULT_STRATEGY
from btnet_lab.evidence.faces import Sets
from btnet_lab.evidence.photographed import (
    NATIVE,
    TEST,
    is_made,
    join_branches,
    made_of,
    pairs_of_strangers,
    training_faces,
)
from btnet_lab.native_test.capture import capture_pairs
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
        embeddings = embed_natively(model, pairs, interpolation=views, mirror=mirror, embed=store)
        choices = native_choices(pairs, embeddings.resolutions, selector)
        scores[name] = score_choices(embeddings, pairs, choices)
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
