"""What the native test and the camera test share: joined branches, faces of both sets, result files made once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.data.bin_sets import read_bin
from btnet.data.pairs import stack_faces
from btnet.data.record_faces import RecordFaces
from btnet.files.digest import sha256
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_model
from btnet_lab.evidence.faces import Sets

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
