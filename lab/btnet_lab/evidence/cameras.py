"""The camera test of an evidence run: BatchNorm statistics re-estimated on faces that one camera took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.evaluation.rates import measurable
from btnet.evaluation.verification import kfold_accuracy, kfold_correct, pair_scores, roc_auc, tar_at_fars
from btnet.method.btnet import BTNet
from btnet.serving.crops import fit_crops
from btnet.serving.embedding import embed_images
from btnet.serving.face_model import FaceModel
from btnet.serving.results import plain, result_document, write_result
from btnet.serving.selection import DEFAULT_STRATEGY, selected_sizes
from btnet_lab.evidence.faces import Sets
from btnet_lab.evidence.native import (
    NATIVE,
    TEST,
    is_made,
    join_branches,
    made_of,
    pairs_of_strangers,
    training_faces,
)
from btnet_lab.native_test.camera import adapted_statistics
from btnet_lab.native_test.native_set import capture_faces
from btnet_lab.native_test.scene import Conditions
from btnet_lab.native_test.strategies import FARS

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
"""Small faces only: the trunk, which no camera may change, sees none of them."""

_NUM_PAIRS: Final = 1000
_NUM_FACES: Final = (32, 128, 512)


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
    """Measure what a camera's own BatchNorm statistics add, from its unlabelled faces of other people.

    Args:
        model: run folders whose branches are joined.
        sets: of the run.
        folder: of the run.
        results: folder of the result files.
        num_faces: photographed of training people, unlabelled; a branch takes as many as the table says, or all that
            go to it.
        seed: of everything random.
        cameras: by name.

    Returns:
        The result file; made anew only where networks, faces or settings differ.
    """
    loaded = join_branches("phi_bt", model)
    network = loaded.module
    if not isinstance(network, BTNet):
        raise ValueError(f"{model[0]}: has no branches, and the trunk must not change; give runs of branches")
    path = results / NATIVE / "camera.json"
    of = made_of(
        [loaded],
        sets,
        seed,
        num_pairs=_NUM_PAIRS,
        num_faces=num_faces,
        cameras={name: asdict(conditions) for name, conditions in cameras.items()},
    )
    if is_made(path, of):
        return path
    images, issame, people = pairs_of_strangers(sets, _NUM_PAIRS)
    faces = training_faces(sets, num_faces, seed)
    gallery = embed_images(network.trunk, images[::2], interpolation=loaded.views, mirror=True)
    found, comparisons = [], []
    for name, conditions in cameras.items():
        probes = [face.crop for face in capture_faces(images[1::2], conditions, seed=seed)]
        strangers = [face.crop for face in capture_faces(faces, conditions, seed=seed + 1)]
        judged = {}
        for count in (0, *_NUM_FACES):
            entry, judged[count] = _measure(loaded, gallery, probes, _adapt(loaded, strangers, count), issame)
            found.append({"model": "phi_bt", "camera": name, "num_faces": count, **entry})
        most = _NUM_FACES[-1]
        difference = paired_bootstrap(judged[most], judged[0], issame, people)
        comparisons.append(
            {"first": f"{name}: {most} faces", "second": "the branches' own", **asdict(difference)}
        )
    document = result_document(
        "camera",
        protocol="gallery at 112 px by the trunk, probes of one camera, image plus mirror, max + ceil, 10 folds",
        interpolation=loaded.views,
        models=[{"name": "phi_bt", "path": "phi_bt", "networks": of["networks"]["phi_bt"]}],
        sets=[{"name": TEST, "sha256": of["test"], "num_pairs": len(issame), "results": found}],
    )
    document |= {"made_of": of, "comparisons": comparisons}
    write_result(path, document)
    return path


def _adapt(model: FaceModel, crops: Sequence[NDArray[np.uint8]], count: int) -> dict[int, dict[str, Tensor]]:
    """BatchNorm statistics by resolution, each of `count` crops, or as many as go to that branch.

    A branch that fewer crops than the smallest count go to is left out; so are all where `count` is 0.
    """
    network = model.module
    assert isinstance(network, BTNet)
    chosen = selected_sizes(model, crops, DEFAULT_STRATEGY)
    found = {}
    for r in network.resolutions if count else ():
        rows = np.flatnonzero(chosen == r)[:count]
        if len(rows) >= _NUM_FACES[0]:
            views = fit_crops([crops[row] for row in rows], r, model.views)
            found[r] = adapted_statistics(network, r, views)
    return found


def _measure(
    model: FaceModel,
    gallery: NDArray[np.float32],
    probes: Sequence[NDArray[np.uint8]],
    statistics: Mapping[int, dict[str, Tensor]],
    issame: NDArray[np.bool_],
) -> tuple[dict[str, Any], NDArray[np.bool_]]:
    """Verify with these statistics, and put the branches' own back; also which pairs were judged rightly, [P]."""
    network = model.module
    assert isinstance(network, BTNet)
    own = {r: network.bn_set(r) for r in statistics}
    for r, tensors in statistics.items():
        network.load_bn_set(r, own[r] | tensors)
    embeddings = model.embed(probes, selected_sizes(model, probes, DEFAULT_STRATEGY), mirror=True)
    for r, tensors in own.items():
        network.load_bn_set(r, tensors)
    accuracy, std = kfold_accuracy(gallery, embeddings, issame)
    scores = pair_scores(gallery, embeddings)
    rates = measurable(tar_at_fars(scores, issame, FARS), int((~issame).sum()))
    entry = {
        "adapted": sorted(statistics),
        "bytes_stored": sum(t.nbytes for tensors in statistics.values() for t in tensors.values()),
        "accuracy": accuracy,
        "std": std,
        "tar_at_far": plain(rates),
        "auc": roc_auc(scores, issame),
    }
    return entry, kfold_correct(scores, issame)
