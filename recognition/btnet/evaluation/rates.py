"""Rates of scored pairs, exactly: TAR at FAR, thresholds of impostors, ROC and the area under it.

Scores in, numbers out; the thresholds are the scores themselves. Folds and embeddings: `btnet.evaluation.verification`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Bools",
    "Floats",
    "check_far",
    "check_labels",
    "impostor_thresholds",
    "is_measurable",
    "measurable",
    "roc_auc",
    "roc_curve",
    "tar_at_far",
    "tar_at_fars",
    "tar_at_nearest_fars",
    "too_few",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def tar_at_far(scores: npt.NDArray[Any], issame: npt.NDArray[Any], far: float) -> float:
    """Largest true accept rate at a false accept rate of at most `far`, in [0, 1]; see `tar_at_fars`."""
    return tar_at_fars(scores, issame, (far,))[far]


def tar_at_fars(
    scores: npt.NDArray[Any], issame: npt.NDArray[Any], fars: Sequence[float]
) -> dict[float, float]:
    """Largest true accept rate that any threshold reaches at a false accept rate of at most each of `fars`.

    Exact: the threshold is an impostor's score, and a pair must score above it. Of n impostors, floor(far n)
    may be accepted; where ties would accept more, all of the tied ones are rejected, and matched pairs of
    that very score too. With far < 1 / n no impostor is accepted: a bound, not a rate that was measured
    (`is_measurable`).

    Args:
        scores: [N], larger = more alike (e.g. `pair_scores`); millions are fine.
        issame: [N], true where a pair shows one person.
        fars: false accept rates, in (0, 1).

    Returns:
        TAR in [0, 1] by FAR.

    Raises:
        ValueError: if lengths disagree, a score is NaN, a rate is outside (0, 1), or all pairs are of one kind.
    """
    values = check_scores(scores)
    same = check_labels(issame, len(values))
    matched = values[same]
    thresholds = impostor_thresholds(values[~same], fars)
    return {far: float(np.mean(matched > threshold)) for far, threshold in thresholds.items()}


def tar_at_nearest_fars(
    scores: npt.NDArray[Any], issame: npt.NDArray[Any], fars: Sequence[float]
) -> dict[float, float]:
    """TAR as insightface's IJB evaluation reads it off: at the point of the ROC whose FAR is nearest, if above too.

    The points are the corners of the curve (those on a straight line between two others are left out, as
    scikit-learn's `roc_curve` does by default). Of two equally near ones the larger FAR counts, of one FAR the largest
    TAR. For numbers beside published ones; for anything new, take `tar_at_fars`, whose arguments and errors are these.
    """
    for target in fars:
        check_far(target)
    far, tar, _ = roc_curve(scores, issame)
    num_matched = np.count_nonzero(issame)
    # Counted in pairs, straight is straight to the bit; the ends of the curve, and its first point after 0, are kept.
    counts = np.rint([far[1:] * (np.size(issame) - num_matched), tar[1:] * num_matched])
    bends = np.diff(counts, 2).any(axis=0)
    corners = np.concatenate(([True, True], bends, [True]))[: len(far)]
    far, tar = far[corners][::-1], tar[corners][::-1]
    return {target: float(tar[np.abs(far - target).argmin()]) for target in fars}


def is_measurable(rate: float, num_impostors: int) -> bool:
    """Whether a set can carry a false accept (or false positive) rate: one impostor at least may be accepted.

    Impostors are pairs of different people, or searches for people who are not enrolled.
    """
    return int(rate * num_impostors + 1e-9) >= 1


def measurable(rates: Mapping[float, float], num_impostors: int) -> dict[float, float | None]:
    """Rates by target, None (print "-") in the place of those that the set cannot carry (`is_measurable`)."""
    return {target: rate if is_measurable(target, num_impostors) else None for target, rate in rates.items()}


def too_few(targets: Iterable[float], num_impostors: int, what: str = "FAR") -> str:
    """Why some rates (`what`: FAR, FPIR) of a table are "-", in a sentence; "" where all could be measured."""
    lost = [f"{target:g}" for target in targets if not is_measurable(target, num_impostors)]
    if not lost:
        return ""
    return f"-: {num_impostors} impostors cannot measure {what} {', '.join(lost)}; that takes 1 / {what} of them."


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
    """Area under the ROC, in [0, 1]: how often a matched pair scores above an impostor pair; a tie counts half.

    Args:
        scores: [N], larger = more alike; -inf for a pair that no threshold accepts.
        issame: [N], true where a pair shows one person.

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
    """Refuse a rate outside (0, 1) by a ValueError."""
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
