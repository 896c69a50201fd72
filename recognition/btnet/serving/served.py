"""Runs a model and its trunk for the served curve (`btnet.evaluation.served`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.served import ServedPoint, distinct_faces, served_pairs, served_point
from btnet.serving.face_model import FaceModel

__all__ = ["served_curve"]


def served_curve(
    model: FaceModel,
    faces: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    sizes: Iterable[int],
    *,
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda _: None,
) -> list[ServedPoint]:
    """Measure how well small probes are matched with a gallery at the canonical size, by a model and its trunk alone.

    Args:
        model: with a trunk. Its interpolation makes the probes, its choice of network serves them.
        faces: aligned, of people it was not trained on, uint8 RGB [N, H, W, 3].
        labels: who they show, [N]. None: nobody says; then accuracy is agreement with the trunk's own verdicts on the
            faces at the canonical size, each its own mate, and different where it tells them apart.
        sizes: of the probes in px.
        batch_size: faces per forward pass.
        progress: called with the number of faces embedded, after each batch.

    Raises:
        ValueError: if there are too few pairs of one person.
    """
    canonical = model.canonical_size
    trunk = FaceModel("trunk", {canonical: model.networks[canonical]}, canonical, model.interpolation)
    gallery = trunk.embed(faces, canonical, batch_size=batch_size, progress=progress)
    if labels is None:
        kept = distinct_faces(gallery)
        faces, gallery = faces[kept], gallery[kept]
    pairs = served_pairs(labels, len(faces))
    points = []
    for size in sizes:
        served = alone = trunk.embed(faces, size, batch_size=batch_size, progress=progress)
        if model.choose(size) != canonical:
            served = model.embed(faces, size, batch_size=batch_size, progress=progress)
        points.append(served_point(size, model.network_name(size), pairs, gallery, served, alone))
    return points
