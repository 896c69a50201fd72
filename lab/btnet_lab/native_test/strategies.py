"""The native test: every probe embedded once by every network, and every way to choose among them scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.rates import measurable
from btnet.evaluation.verification import kfold_accuracy, pair_scores, roc_auc, tar_at_fars
from btnet.serving.embedding import Embed, embed_images
from btnet.serving.face_model import FaceModel
from btnet.serving.fusion import fuse, fusion_weights, one_hot
from btnet.serving.optical import OpticalSelector
from btnet.serving.results import describe_model, plain, result_document
from btnet.serving.selection import STRATEGIES, selected_resolutions
from btnet_lab.native_test.native_set import NativeSet

FARS: Final = (1e-2, 1e-3)
_BLURRED: Final = 2.0
"""Pixels per px of detail from which on a face counts as blurred."""


@dataclass(frozen=True, eq=False)
class NativeScore:
    """How well one choice of networks verifies.

    Attributes:
        choice: its name: "max+ceil", "optical", "fused, max" ...
        accuracy: 10-fold, in [0, 1].
        std: standard deviation of the folds' accuracies.
        tar_at_far: true accept rate by false accept rate; None where the set cannot carry it.
        auc: area under the ROC.
        auc_sharp: likewise, of the probes with fewer than 2 px of the sensor per px of detail; None without pairs
            of both kinds.
        auc_blurred: likewise, of the others.
        share_by_resolution: of the weight that each network had.
        scores: cosine of each pair, [P].
    """

    choice: str
    accuracy: float
    std: float
    tar_at_far: dict[str, float | None]
    auc: float
    auc_sharp: float | None
    auc_blurred: float | None
    share_by_resolution: dict[str, float]
    scores: NDArray[np.float64] = field(repr=False)


def embed_natively(
    model: FaceModel,
    pairs: NativeSet,
    *,
    interpolation: str | None = None,
    batch_size: int = 32,
    mirror: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    embed: Embed = embed_images,
) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
    """Embed the gallery with the trunk, and every probe with every network.

    Args:
        model: with a network for the gallery's size.
        pairs: the set.
        interpolation: brings a probe from its own size to a network's; None: as the model was trained.
        batch_size: images per forward pass.
        mirror: add the embedding of the mirror image.
        progress: called with the number of embeddings made.
        embed: as in `FaceModel.embed`.
    """
    at = partial(
        model.embed,
        interpolation=interpolation,
        batch_size=batch_size,
        mirror=mirror,
        progress=progress,
        embed=embed,
    )
    gallery = at(pairs.gallery, pairs.gallery.shape[1])
    return gallery, {size: at(pairs.probes, size) for size in model.resolutions}


def native_choices(
    pairs: NativeSet, resolutions: Sequence[int], selector: OpticalSelector | None = None
) -> dict[str, NDArray[np.float64]]:
    """All ways to choose among networks: by name, the weight of each network for each probe, [P, K].

    One network for all; the paper's nine strategies on the detector's box; fusion of the two neighbours by the box's
    larger side; with a selector, selection and fusion by the optical size it predicts; by the number of pixels with
    cuts learnt likewise (what is not owed to seeing blur); and, since the set knows it, by the true optical size (what
    a perfect blur meter would give).

    Args:
        pairs: the set.
        resolutions: of the networks in px; the K of the columns.
        selector: learnt on other people.
    """
    num_pairs = len(pairs.issame)
    choices = {f"all at {r}": one_hot(np.full(num_pairs, r), resolutions) for r in resolutions}
    for strategy in STRATEGIES:
        chosen = selected_resolutions(pairs.boxes, resolutions, strategy)
        choices[strategy.label] = one_hot(chosen, resolutions)
    choices["fused, max"] = fusion_weights(pairs.boxes.max(axis=1).astype(np.float64), resolutions)
    if selector is not None:
        predicted = selector.optical_sizes(pairs.probes)
        choices["optical"] = one_hot(selector.resolutions_of(predicted, resolutions), resolutions)
        choices["fused, optical"] = fusion_weights(selector.fusion_sizes(predicted, resolutions), resolutions)
        sides = np.array([len(probe) for probe in pairs.probes], np.float64)
        blind = OpticalSelector(selector.weights, selector.pixel_cuts)
        choices["pixels, learnt cuts"] = one_hot(blind.resolutions_of(sides, resolutions), resolutions)
        choices["fused, pixels, learnt cuts"] = fusion_weights(
            blind.fusion_sizes(sides, resolutions), resolutions
        )
        known = pairs.optical_px
        choices["optical, known"] = one_hot(selector.resolutions_of(known, resolutions), resolutions)
        choices["fused, known"] = fusion_weights(selector.fusion_sizes(known, resolutions), resolutions)
    return choices


def score_choices(
    gallery: NDArray[np.float32],
    probes: Mapping[int, NDArray[np.float32]],
    pairs: NativeSet,
    choices: Mapping[str, NDArray[np.float64]],
) -> list[NativeScore]:
    """Verify under each choice, with what `embed_natively` gave."""
    num_impostors = int((~pairs.issame).sum())
    blurred = pairs.pixel_px >= _BLURRED * pairs.optical_px
    found = []
    for name, weights in choices.items():
        fused = fuse(probes, weights, tuple(probes))
        accuracy, std = kfold_accuracy(gallery, fused, pairs.issame)
        scores = pair_scores(gallery, fused)
        found.append(
            NativeScore(
                choice=name,
                accuracy=accuracy,
                std=std,
                tar_at_far=plain(measurable(tar_at_fars(scores, pairs.issame, FARS), num_impostors)),
                auc=roc_auc(scores, pairs.issame),
                auc_sharp=_auc(scores, pairs.issame, ~blurred),
                auc_blurred=_auc(scores, pairs.issame, blurred),
                share_by_resolution=dict(zip(map(str, probes), weights.mean(axis=0).tolist(), strict=True)),
                scores=scores,
            )
        )
    return found


def _auc(scores: NDArray[np.float64], issame: NDArray[Any], rows: NDArray[np.bool_]) -> float | None:
    same = issame[rows]
    return roc_auc(scores[rows], same) if same.any() and not same.all() else None


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
    """What was measured, as plain dicts: see `btnet.serving.results.result_document`."""
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
