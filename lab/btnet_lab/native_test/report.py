"""The native test as a result file and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from btnet.serving.face_model import FaceModel
from btnet.serving.results import describe_model, result_document
from btnet_lab.native_test.native_set import NativeSet
from btnet_lab.native_test.strategies import NativeScore

__all__ = ["native_document", "native_rows"]


def native_document(
    pairs: NativeSet,
    scores: Mapping[str, Sequence[NativeScore]],
    models: Sequence[FaceModel],
    paths: Sequence[str],
    *,
    name: str,
    checksum: str,
    interpolation: str,
    mirror: bool,
    selector: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What was measured, as plain dicts: see `btnet.serving.results.result_document`.

    Args:
        pairs: the set.
        scores: of each model, by its name.
        models: in order.
        paths: where each came from.
        name: of the set.
        checksum: of its file.
        interpolation: from a probe's own size to a network's.
        mirror: whether mirror images were added.
        selector: how it was fitted, and its cuts; None without one.
    """
    results = [
        {"model": model.name, **{key: value for key, value in vars(score).items() if key != "scores"}}
        for model in models
        for score in scores[model.name]
    ]
    sizes = {
        key: [float(value) for value in np.quantile(values, [0.05, 0.5, 0.95])]
        for key, values in (("pixel_px", pairs.pixel_px), ("optical_px", pairs.optical_px))
    }
    return result_document(
        "native",
        protocol={
            "gallery": f"{pairs.gallery.shape[1]} px, by the trunk",
            "probe": "photographed, aligned by a detector's landmarks, in its own size",
            "selection": "by the detector's box; optical: by the picture",
            "embedding": "image plus mirror" if mirror else "image alone",
            "folds": 10,
            "selector": None if selector is None else dict(selector),
        },
        interpolation=interpolation,
        models=[
            describe_model(model, path, model.resolutions) for model, path in zip(models, paths, strict=True)
        ],
        sets=[
            {
                "name": name,
                "sha256": checksum,
                "num_pairs": len(pairs.issame),
                "num_same": int(pairs.issame.sum()),
                "made": dict(pairs.about),
                "sizes_at_5_50_95_percent": sizes,
                "results": results,
            }
        ],
    )


def native_rows(scores: Sequence[NativeScore]) -> list[list[str]]:
    """A line for each choice: accuracy, TAR at each FAR, AUC of all, sharp and blurred probes, shares; in %."""
    return [
        [
            score.choice,
            f"{100 * score.accuracy:.2f} ± {100 * score.std:.2f}",
            *(
                "-" if value is None else f"{100 * value:.2f}"
                for value in (*score.tar_at_far.values(), score.auc, score.auc_sharp, score.auc_blurred)
            ),
            " / ".join(f"{100 * share:.0f}" for share in score.share_by_resolution.values()),
        ]
        for score in scores
    ]
