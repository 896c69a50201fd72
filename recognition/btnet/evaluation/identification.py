"""1:N identification, all scorers by name. Arrays in, numbers out; cosine similarity; ties count against the model.

FPIR is the share of searches for people who are not enrolled that return somebody; TPIR the share of searches
for enrolled people that return the mate, above the threshold and among the first `rank` candidates. In a closed set
(TinyFace, SCFace) everyone is enrolled. IJB's scorers: `btnet.evaluation.ijb_1n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btnet.evaluation.cosine import Array, score_blocks
from btnet.evaluation.ijb_1n import Ijb1NResult, ijb_1n, ijb_1n_standard
from btnet.evaluation.mates import Enrolled, Standing, rank_rates
from btnet.evaluation.rates import impostor_thresholds, roc_auc

__all__ = [
    "ClosedSetResult",
    "Ijb1NResult",
    "OpenSetResult",
    "closed_set",
    "ijb_1n",
    "ijb_1n_standard",
    "open_set",
    "open_set_survface",
]

FPIRS = (0.3, 0.2, 0.1, 0.01)
_NUM_THRESHOLDS = 1000


@dataclass(frozen=True)
class OpenSetResult:
    """TPIR at each target FPIR.

    Attributes:
        tpir: by target FPIR, in [0, 1].
        fpir: the FPIR reached, by target.
        threshold: a candidate must score above it, by target.
        auc: area under TPIR over FPIR, in [0, 1].
        rank: the mate must be among that many candidates; None: anywhere.
        num_mated: number of mated probes.
        num_unmated: number of unmated probes.
    """

    tpir: dict[float, float]
    fpir: dict[float, float]
    threshold: dict[float, float]
    auc: float
    rank: int | None
    num_mated: int
    num_unmated: int


def open_set(
    gallery: Array,
    gallery_ids: Array,
    mated: Array,
    mated_ids: Array,
    unmated: Array,
    *,
    fpirs: Sequence[float] = FPIRS,
    rank: int | None = 20,
) -> OpenSetResult:
    """TPIR at the largest FPIR that does not exceed each target: exact order statistics.

    The threshold is the score of an unmated probe, and a candidate must score above it. Of U unmated probes,
    floor(FPIR * U) may return somebody; where ties would let more, none of the tied ones does. Ties between a
    mate and others count against the mate (`btnet.evaluation.mates`). The AUC is the chance that a mated
    probe's mate is among the first `rank` and scores above the best candidate of an unmated probe, ties half.

    Args:
        gallery: one embedding a person, [G, D], of any length.
        gallery_ids: [G].
        mated: probes of enrolled people, [P, D].
        mated_ids: [P].
        unmated: probes of others, [U, D].
        fpirs: targets, in (0, 1).
        rank: the mate must be among the first `rank` candidates; None: anywhere.

    Returns:
        TPIR at each target, and the AUC.

    Raises:
        ValueError: if a set is empty, an embedding is not finite, ids repeat in the gallery, a mated probe has
            no mate there, or a target is outside (0, 1).
    """
    enrolled = Enrolled(gallery, gallery_ids, one_per_id=True)
    mate_scores, ranks = enrolled.mates(mated, mated_ids)
    if rank is not None:
        mate_scores = np.where(ranks <= _positive(rank), mate_scores, -np.inf)
    best = enrolled.best_scores(unmated)
    thresholds = impostor_thresholds(best, fpirs)
    is_mated = np.arange(len(mate_scores) + len(best)) < len(mate_scores)
    return OpenSetResult(
        tpir={fpir: float(np.mean(mate_scores > t)) for fpir, t in thresholds.items()},
        fpir={fpir: float(np.mean(best > t)) for fpir, t in thresholds.items()},
        threshold=thresholds,
        auc=roc_auc(np.concatenate([mate_scores, best]), is_mated),
        rank=rank,
        num_mated=len(mate_scores),
        num_unmated=len(best),
    )


def open_set_survface(
    gallery: Array,
    gallery_ids: Array,
    mated: Array,
    mated_ids: Array,
    unmated: Array,
    *,
    fpirs: Sequence[float] = FPIRS,
    rank: int = 20,
) -> OpenSetResult:
    """TPIR as the BTNet authors' SurvFace code reads it off 1000 evenly spaced thresholds.

    They run from the lowest score among the first `rank` candidates of a mated probe and the best ones of the
    unmated, to the highest of the unmated; a candidate must score above. Each target takes the threshold whose
    FPIR is nearest (the lowest of equals), which may lie above the target; the AUC is the trapezoid over the
    thresholds. For numbers beside published ones; for anything new, take `open_set`, whose arguments and errors
    are these.
    """
    enrolled = Enrolled(gallery, gallery_ids, one_per_id=True)
    mate_scores, ranks = enrolled.mates(mated, mated_ids)
    best = enrolled.best_scores(unmated)
    lowest = min(_lowest_candidate(enrolled.embeddings, mated, _positive(rank)), best.min())
    hits = np.sort(mate_scores[ranks <= rank])
    thresholds = np.linspace(lowest, best.max(), _NUM_THRESHOLDS, dtype=best.dtype)
    tpir = (len(hits) - np.searchsorted(hits, thresholds, side="right")) / len(mate_scores)
    fpir = (len(best) - np.searchsorted(np.sort(best), thresholds, side="right")) / len(best)
    # In float32, as there: it decides between two thresholds that are equally near.
    nearest = {target: int(np.abs(fpir.astype(np.float32) - target).argmin()) for target in fpirs}
    return OpenSetResult(
        tpir={target: float(tpir[i]) for target, i in nearest.items()},
        fpir={target: float(fpir[i]) for target, i in nearest.items()},
        threshold={target: float(thresholds[i]) for target, i in nearest.items()},
        auc=float(np.sum((fpir[:-1] - fpir[1:]) * (tpir[:-1] + tpir[1:]) / 2)),
        rank=rank,
        num_mated=len(mate_scores),
        num_unmated=len(best),
    )


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
    enrolled = Enrolled(gallery, gallery_ids, one_per_id=False)
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


def _lowest_candidate(gallery: Array, probes: Array, rank: int) -> float:
    last = max(0, len(gallery) - rank)
    return min(
        float(np.partition(scores, last, axis=1)[:, last].min())
        for _, scores in score_blocks(probes, gallery)
    )


def _positive(rank: int) -> int:
    if rank < 1:
        raise ValueError(f"rank {rank}: expected 1 or more candidates")
    return rank


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
