"""Calibrates a recogniser: shows it faces at many sizes, and measures where to decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.calibration.calibration import FMRS, Calibration
from btnet.calibration.thresholds import MIN_FALSE_MATCHES, View, false_positive_rates, measure_thresholds
from btnet.data.faces import FaceSet
from btnet.evaluation.served import distinct_faces
from btnet.images.resize import resize
from btnet.serving.recognizer import Recognizer

__all__ = ["anchor_sizes", "calibrate"]

_SIZES = (7, 10, 14, 17, 20, 24, 28, 40)
_MOST_FACES = 2000
_MOST_OF_ONE = 10  # faces of one person
_GALLERIES = [n * 10**k for k in range(1, 5) for n in (1, 2, 5)]


def calibrate(
    recognizer: Recognizer,
    faces: FaceSet,
    name: str,
    *,
    identities: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Calibration:
    """Measure thresholds for each two sizes of face.

    Faces of the canonical size or larger are shrunk to each size. Where there are smaller ones, none is shrunk: each
    counts for the nearest size, as it was photographed.

    Args:
        recognizer: as it is to serve.
        faces: aligned, of people it was not trained on.
        name: what the set is called.
        identities: whether its labels say who the faces show. If not, thresholds are provisional: faces that the trunk
            tells apart are taken for different people.
        progress: called with 1 after each of `anchor_sizes`.

    Raises:
        ValueError: if no threshold is measurable.
    """
    canonical, anchors = recognizer.resolutions[0], anchor_sizes(recognizer.resolutions)
    rows = _drawn(faces.labels, _MOST_OF_ONE if identities else _MOST_FACES)
    crops = [faces[row][0] for row in rows.tolist()]
    people = np.unique(faces.labels[rows], return_inverse=True)[1]
    if not identities:
        distinct = distinct_faces(recognizer.embed(crops))
        crops, people = [crops[row] for row in distinct.tolist()], np.arange(len(distinct))
    sides = np.array([max(crop.shape[:2]) for crop in crops])
    shrunk = bool(sides.min() >= canonical)
    nearest = np.abs(np.log(sides[:, None] / anchors)).argmin(axis=1)
    views = []
    for place, size in enumerate(anchors):
        chosen = np.flatnonzero((nearest == place) | shrunk)
        if len(np.unique(people[chosen])) > 1:
            seen = [crops[row] for row in chosen.tolist()]
            seen = [resize(crop, size, recognizer.model.views) for crop in seen] if shrunk else seen
            views.append(View(size, recognizer.embed(seen), people[chosen], chosen))
        progress(1)
    thresholds = []
    for first, second in combinations_with_replacement(views, 2):
        for found in measure_thresholds(first, second, FMRS):
            if identities and second.size == canonical and found.threshold is not None:
                fpir = false_positive_rates(second, first, found.threshold, _GALLERIES)
                found = replace(found, fpir=fpir)
            thresholds.append(found)
    if all(found.threshold is None for found in thresholds):
        num_pairs = max((found.num_impostor_pairs for found in thresholds), default=0)
        raise ValueError(
            f"{name}: {len(crops)} faces of {people.max() + 1} people make at most {num_pairs} pairs of different "
            f"people; a false match rate of {max(FMRS):g} takes {MIN_FALSE_MATCHES / max(FMRS):.0f}: give more people"
        )
    shown: dict[str, Any] = {"name": name, "fingerprint": faces.fingerprint(), "num_faces": len(crops)}
    shown["num_people"] = int(people.max()) + 1 if identities else None
    shown["small"] = "shrunk" if shrunk else "photographed small"
    networks = {str(r): recognizer.model.fingerprint(r) for r in recognizer.resolutions}
    return Calibration(networks, recognizer.serving, shown, tuple(thresholds))


def anchor_sizes(resolutions: Sequence[int]) -> list[int]:
    """Sizes in px to measure at: both ends of what each network serves, and some between."""
    ends = {size for r in resolutions for size in (r, r + 1)}
    return sorted(size for size in ends.union(_SIZES) if size <= max(resolutions))


def _drawn(labels: NDArray[np.int64], each: int) -> NDArray[np.int64]:
    """Faces of as many people as `_MOST_FACES` allow, drawn, at most so many of each; rows, ascending."""
    generator = np.random.default_rng(0)
    order = np.argsort(labels, kind="stable")
    people = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    rows = [generator.permutation(people[i])[:each] for i in generator.permutation(len(people))]
    return np.sort(np.concatenate(rows)[:_MOST_FACES])
