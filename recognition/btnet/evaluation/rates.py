"""Rates of scored pairs, exactly: TAR at FAR, thresholds of impostors, ROC and the area under it.

Scores in, numbers out; the thresholds are the scores themselves. Folds and embeddings: `btnet.evaluation.verification`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Bools",
    "Floats",
    "check_far",
    "check_labels",
    "impostor_thresholds",
    "roc_auc",
    "roc_curve",
    "tar_at_far",
    "tar_at_fars",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def tar_at_far(scores: npt.NDArray[Any], issame: npt.NDArray[Any], far: float) -> float:
    """Largest true accept rate that any threshold reaches with a false accept rate of at most `far`.

    Exact: the threshold is an impostor's score, and a pair must score above it. Of n impostors, floor(far n)
    may be accepted; where ties would accept more, all of the tied ones are rejected, and matched pairs of
    that very score too. With far < 1 / n no impostor is accepted.

    Args:
        scores: [N], larger = more alike (e.g. `pair_scores`).
        issame: [N], true where a pair shows one person.
        far: false accept rate, in (0, 1).

    Returns:
        TAR in [0, 1].

    Raises:
        ValueError: if lengths disagree, a score is NaN, `far` is outside (0, 1), or all pairs are of one
            kind.
    """
    return tar_at_fars(scores, issame, (far,))[far]


def tar_at_fars(
    scores: npt.NDArray[Any], issame: npt.NDArray[Any], fars: Sequence[float]
) -> dict[float, float]:
    """`tar_at_far` at several rates at once: IJB's 1e-6 to 1e-1, or a fine grid that draws a ROC.

    Args:
        scores: [N], larger = more alike; millions are fine (`btnet.evaluation.cosine.indexed_pair_scores`).
        issame: [N], true where a pair shows one person.
        fars: false accept rates, in (0, 1).

    Returns:
        TAR in [0, 1] by FAR.

    Raises:
        ValueError: as `tar_at_far`.
    """
    values = check_scores(scores)
    same = check_labels(issame, len(values))
    matched = values[same]
    thresholds = impostor_thresholds(values[~same], fars)
    return {far: float(np.mean(matched > threshold)) for far, threshold in thresholds.items()}


def impostor_thresholds(impostors: npt.NDArray[Any], fars: Sequence[float]) -> dict[float, float]:
    """The lowest scores above which at most a given share of impostors lies: exact order statistics.

    Args:
        impostors: scores, [N] with N >= 1, in any order.
        fars: shares of them that may be accepted, in (0, 1).

    Returns:
        By share, the impostor's score above which one is accepted.

    Raises:
        ValueError: if a share is outside (0, 1).
    """
    ordered = np.sort(impostors)[::-1]
    thresholds = {}
    for far in fars:
        check_far(far)
        # 1e-9: 0.29 * 100 is 28.999999999999996.
        thresholds[far] = float(ordered[int(far * len(ordered) + 1e-9)])
    return thresholds


def roc_auc(scores: npt.NDArray[Any], issame: npt.NDArray[Any]) -> float:
    """Area under the ROC: how often a matched pair scores above an impostor pair; a tie counts half.

    Args:
        scores: [N], larger = more alike.
        issame: [N], true where a pair shows one person.

    Returns:
        In [0, 1].

    Raises:
        ValueError: if lengths disagree, a score is NaN, or all pairs are of one kind.
    """
    values = check_scores(scores)
    same = check_labels(issame, len(values))
    impostors, matched = np.sort(values[~same]), values[same]
    below = np.searchsorted(impostors, matched, side="left")
    not_above = np.searchsorted(impostors, matched, side="right")
    return float((below.mean() + not_above.mean()) / 2 / len(impostors))


def roc_curve(scores: npt.NDArray[Any], issame: npt.NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """Every point of the ROC: one per distinct score, accepting scores at or above it.

    Args:
        scores: [N], larger = more alike.
        issame: [N], true where a pair shows one person.

    Returns:
        FAR and TAR, both rising from 0 to 1, and the falling thresholds (the first, inf, accepts nobody);
        float64 [number of distinct scores + 1] each.

    Raises:
        ValueError: if lengths disagree, a score is NaN, or all pairs are of one kind.
    """
    values = check_scores(scores)
    same = check_labels(issame, len(values))
    thresholds = np.unique(values)[::-1]
    far = _share_at_or_above(values[~same], thresholds)
    tar = _share_at_or_above(values[same], thresholds)
    return (
        np.concatenate(([0.0], far)),
        np.concatenate(([0.0], tar)),
        np.concatenate(([np.inf], thresholds)),
    )


def check_labels(issame: npt.NDArray[Any], num_pairs: int) -> Bools:
    """`issame` as bool [num_pairs], if it is that and holds pairs of both kinds.

    Raises:
        ValueError: if not.
    """
    same = np.asarray(issame).astype(bool)
    if same.shape != (num_pairs,):
        raise ValueError(f"issame has shape {list(same.shape)}, expected [{num_pairs}]: one per pair")
    if same.all() or not same.any():
        kind = "matched" if num_pairs and same.all() else "impostor"
        raise ValueError(
            f"all {num_pairs} pairs are {kind} pairs; verification needs both kinds, check issame"
        )
    return same


def check_far(far: float) -> None:
    """Refuse a rate outside (0, 1).

    Raises:
        ValueError: for such a rate.
    """
    if not 0 < far < 1:
        raise ValueError(f"FAR {far} is no rate to aim at; expected a number between 0 and 1, e.g. 1e-3")


def _share_at_or_above(values: Floats, thresholds: Floats) -> Floats:
    below = np.searchsorted(np.sort(values), thresholds, side="left")
    return (len(values) - below) / len(values)


def check_scores(scores: npt.NDArray[Any]) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(
            f"scores have shape {list(values.shape)} and {np.isnan(values).sum()} NaN, expected [N] and none"
        )
    return values
