"""Closed-set 1:N identification (TinyFace, SCFace): rank-k and mean average precision; everyone is enrolled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btnet.evaluation.cosine import Array
from btnet.evaluation.mates import Gallery, Standing, rank_rates

__all__ = ["ClosedSetResult", "closed_set"]


@dataclass(frozen=True)
class ClosedSetResult:
    """How early mates are found.

    Attributes:
        rank_rate: share of probes with a mate among the first k, by k.
        mean_average_precision: mean over the mates of the precision at each; then over probes.
        mean_average_precision_trapezoid: the same with precision averaged between a mate and the row before it,
            which is how TinyFace's kit (and Market-1501's) counts; take this one beside published numbers.
        num_probes: number of probes.
        num_gallery: number of gallery rows, distractors included.
    """

    rank_rate: dict[int, float]
    mean_average_precision: float
    mean_average_precision_trapezoid: float
    num_probes: int
    num_gallery: int


def closed_set(
    gallery: Array,
    gallery_ids: Array,
    probes: Array,
    probe_ids: Array,
    *,
    distractors: Array | None = None,
    ranks: Sequence[int] = (1, 5, 10, 20),
) -> ClosedSetResult:
    """Rank-k and mAP of probes that all have mates, several if there are.

    A tie counts against the model: a mate stands behind everybody else with its score.

    Args:
        gallery: [G, D], of any length; a person may have several rows.
        gallery_ids: [G].
        probes: [P, D].
        probe_ids: [P].
        distractors: gallery rows of people who are not among the probes, [N, D].
        ranks: the k of rank-k.

    Returns:
        Rank-k rates and mean average precision, in [0, 1].

    Raises:
        ValueError: if a set is empty, an embedding is not finite, or a probe has no mate in the gallery.
    """
    enrolled = Gallery(gallery, gallery_ids, one_per_id=False)
    found, precisions = [], []
    for standing in enrolled.standings(probes, probe_ids, distractors=distractors):
        found.append(standing.rank)
        precisions += [_average_precisions(standing, row) for row in range(len(standing.rank))]
    plain, trapezoid = np.mean(precisions, axis=0)
    return ClosedSetResult(
        rank_rate=rank_rates(np.concatenate(found), ranks),
        mean_average_precision=float(plain),
        mean_average_precision_trapezoid=float(trapezoid),
        num_probes=len(precisions),
        num_gallery=len(enrolled.embeddings) + (0 if distractors is None else len(distractors)),
    )


def _average_precisions(standing: Standing, row: int) -> tuple[float, float]:
    scores, is_mate = standing.scores[row], standing.is_mate[row]
    mates = np.sort(scores[is_mate])
    others = np.sort(scores[(scores >= mates[0]) & ~is_mate])
    ahead = (len(others) - np.searchsorted(others, mates, side="left"))[::-1]
    count = np.arange(1, len(mates) + 1)
    place = count + ahead
    precision = count / place
    # Before the first row of all, precision counts as 1.
    before = np.where(place == 1, 1.0, (count - 1) / np.maximum(place - 1, 1))
    return float(precision.mean()), float((precision + before).mean() / 2)
