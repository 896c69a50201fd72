"""1:1 verification by folds: 10-fold accuracy and VAL at FAR of pairs of embeddings.

Arrays in, numbers out, by the protocol of InsightFace's arcface_torch (squared Euclidean distance, fixed threshold
grids, folds in file order), so that numbers can stand beside published ones. The rates that need no folds, whose
thresholds are the scores themselves, are those of `btnet.evaluation.rates`; they can be had from here too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from btnet.evaluation.cosine import finite_rows, unit_normalise
from btnet.evaluation.rates import (
    Bools,
    Floats,
    check_far,
    check_labels,
    check_scores,
    impostor_thresholds,
    roc_auc,
    roc_curve,
    tar_at_far,
    tar_at_fars,
)

__all__ = [
    "check_folds",
    "fold_accuracies",
    "impostor_thresholds",
    "kfold_accuracy",
    "kfold_correct",
    "pair_scores",
    "roc_auc",
    "roc_curve",
    "tar_at_far",
    "tar_at_fars",
    "val_at_far",
]


# arcface_torch: squared distances of unit vectors lie in [0, 4]; VAL is read off a ten times finer grid.
_ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
_VAL_THRESHOLDS = np.arange(0, 4, 0.001)


def pair_scores(embeddings1: npt.NDArray[Any], embeddings2: npt.NDArray[Any]) -> Floats:
    """Cosine similarity of each pair.

    Args:
        embeddings1: [N, D], of any length.
        embeddings2: their partners, [N, D].

    Returns:
        float64 [N] in [-1, 1]; 0 where an embedding is the zero vector.

    Raises:
        ValueError: if the shapes differ, or an embedding is NaN or infinite.
    """
    first, second = _embeddings(embeddings1, embeddings2)
    scores: Floats = np.einsum("nd,nd->n", unit_normalise(first), unit_normalise(second))
    return scores


def kfold_accuracy(
    embeddings1: npt.NDArray[Any],
    embeddings2: npt.NDArray[Any],
    issame: npt.NDArray[Any],
    num_folds: int = 10,
) -> tuple[float, float]:
    """Verification accuracy by the LFW protocol as InsightFace's arcface_torch runs it.

    Each fold is judged at the threshold (0, 0.01 .. 3.99 on the squared distance, the first of equals) that
    does best on the other folds. Folds are consecutive pairs, the first N mod num_folds one pair longer.

    Args:
        embeddings1: [N, D]; L2-normalised here, computed in float64.
        embeddings2: their partners, [N, D].
        issame: [N], true where a pair shows one person.
        num_folds: 2 or more, at most N.

    Returns:
        Mean and (population) standard deviation of the folds' accuracies, in [0, 1].

    Raises:
        ValueError: if lengths disagree, an embedding is not finite, or as `check_folds`.
    """
    distances = _squared_distances(embeddings1, embeddings2)
    same, folds = check_folds(issame, len(distances), num_folds)
    correct = _judged_rightly(distances, same, folds)
    accuracies = np.array([correct[fold].mean() for fold in folds])
    return float(accuracies.mean()), float(accuracies.std())


def kfold_correct(scores: npt.NDArray[Any], issame: npt.NDArray[Any], num_folds: int = 10) -> Bools:
    """Which pairs `kfold_accuracy` judges rightly, each at its fold's threshold: what two models are compared by.

    Args:
        scores: cosine of each pair, [N] (`pair_scores`).
        issame: [N], true where a pair shows one person.
        num_folds: as of the accuracy.

    Returns:
        bool [N]; the mean of its folds' means is the accuracy.

    Raises:
        ValueError: if lengths disagree, a score is NaN, or as `check_folds`.
    """
    distances = 2 - 2 * check_scores(scores)
    return _judged_rightly(distances, *check_folds(issame, len(distances), num_folds))


def fold_accuracies(correct: npt.NDArray[Any]) -> Floats:
    """Accuracy of each of the ten folds of `kfold_accuracy`, float64 [10], from what `kfold_correct` returns."""
    return np.array([correct[fold].mean() for fold in _folds(len(correct), 10)])


def val_at_far(
    embeddings1: npt.NDArray[Any],
    embeddings2: npt.NDArray[Any],
    issame: npt.NDArray[Any],
    far: float = 1e-3,
    num_folds: int = 10,
) -> tuple[float, float, float]:
    """Validation rate at a target FAR, as arcface_torch reports it ("VAL").

    Each fold's threshold (0, 0.001 .. 3.999, interpolated) is the one at which the other folds reach the
    target FAR. Of thresholds with equal FAR the largest counts: `scipy.interpolate.interp1d`, which
    arcface_torch calls, is not defined for repeated x and refuses them by now. Where the impostors are too
    few to reach the FAR at all, nobody is accepted. A coarse number: for anything new, take `tar_at_far`.

    Args:
        embeddings1: [N, D]; L2-normalised here, computed in float64.
        embeddings2: their partners, [N, D].
        issame: [N], true where a pair shows one person.
        far: target false accept rate, in (0, 1).
        num_folds: 2 or more, at most N.

    Returns:
        Mean and standard deviation of the validation rate over folds, and the mean FAR the folds reached.
        A fold without matched (or without impostor) pairs is left out of the VAL (or FAR) mean.

    Raises:
        ValueError: as `kfold_accuracy`; or if `far` is outside (0, 1).
    """
    check_far(far)
    distances = _squared_distances(embeddings1, embeddings2)
    same, folds = check_folds(issame, len(distances), num_folds)
    accepted = _accepted_per_fold(distances, ~same, folds, _VAL_THRESHOLDS)
    num_impostors = np.array([np.count_nonzero(~same[fold]) for fold in folds])
    rates_same, rates_different = [], []
    for index, fold in enumerate(folds):
        num_elsewhere = num_impostors.sum() - num_impostors[index]
        far_elsewhere = (accepted.sum(axis=0) - accepted[index]) / num_elsewhere
        threshold = _threshold_at(far, far_elsewhere)
        fold_distances, fold_same = distances[fold], same[fold]
        rates_same += _rate(fold_distances[fold_same] < threshold)
        rates_different += _rate(fold_distances[~fold_same] < threshold)
    return float(np.mean(rates_same)), float(np.std(rates_same)), float(np.mean(rates_different))


def check_folds(issame: npt.NDArray[Any], num_pairs: int, num_folds: int) -> tuple[Bools, list[slice]]:
    """What the functions above ask of their pairs; known before anything is embedded.

    Args:
        issame: [N], true where a pair shows one person.
        num_pairs: N.
        num_folds: of consecutive pairs.

    Returns:
        `issame` as bool [N], and the folds.

    Raises:
        ValueError: if there is not one flag per pair, there are fewer pairs than folds, or pairs of one kind lie in
            one fold, or nowhere: each fold is judged by the other folds' threshold, which takes both kinds.
    """
    same, folds = check_labels(issame, num_pairs), _folds(num_pairs, num_folds)
    for kind, pairs in (("matched", same), ("impostor", ~same)):
        holding = [index for index, fold in enumerate(folds) if pairs[fold].any()]
        if len(holding) == 1:
            raise ValueError(
                f"all {kind} pairs lie in fold {holding[0]} of {num_folds}: nothing sets its threshold; "
                "shuffle the pairs, or alternate matched and impostor blocks"
            )
    return same, folds


def _squared_distances(embeddings1: npt.NDArray[Any], embeddings2: npt.NDArray[Any]) -> Floats:
    first, second = _embeddings(embeddings1, embeddings2)
    difference = unit_normalise(first) - unit_normalise(second)
    distances: Floats = np.einsum("nd,nd->n", difference, difference)
    return distances


def _accepted_per_fold(distances: Floats, chosen: Bools, folds: list[slice], thresholds: Floats) -> Any:
    # [folds, thresholds] counts of chosen pairs strictly below each threshold. Sorting replaces comparing
    # every pair with every threshold.
    return np.stack(
        [np.searchsorted(np.sort(distances[fold][chosen[fold]]), thresholds, side="left") for fold in folds]
    )


def _judged_rightly(distances: Floats, same: Bools, folds: list[slice]) -> Bools:
    """Per pair, at the threshold (the first of equals) that does best on the other folds."""
    accepted_same = _accepted_per_fold(distances, same, folds, _ACCURACY_THRESHOLDS)
    accepted_different = _accepted_per_fold(distances, ~same, folds, _ACCURACY_THRESHOLDS)
    num_different = np.array([np.count_nonzero(~same[fold]) for fold in folds])
    correct = accepted_same + num_different[:, None] - accepted_different
    best = (correct.sum(axis=0) - correct).argmax(axis=1)
    thresholds = np.repeat(_ACCURACY_THRESHOLDS[best], [fold.stop - fold.start for fold in folds])
    return np.asarray((distances < thresholds) == same, dtype=np.bool_)


def _threshold_at(far: float, far_of_threshold: Floats) -> float:
    if far_of_threshold[-1] < far:
        return 0.0
    last_of_equals = np.append(far_of_threshold[1:] != far_of_threshold[:-1], True)
    return float(np.interp(far, far_of_threshold[last_of_equals], _VAL_THRESHOLDS[last_of_equals]))


def _rate(accepted: Bools) -> list[float]:
    return [float(accepted.mean())] if accepted.size else []


def _folds(num_pairs: int, num_folds: int) -> list[slice]:
    if not 2 <= num_folds <= num_pairs:
        raise ValueError(
            f"{num_pairs} pairs cannot be judged in {num_folds} folds; expected 2 <= num_folds <= pairs: "
            "pass a smaller num_folds (and say so beside the number), or more pairs"
        )
    base, longer = divmod(num_pairs, num_folds)
    starts = [i * base + min(i, longer) for i in range(num_folds + 1)]
    return [slice(starts[i], starts[i + 1]) for i in range(num_folds)]


def _embeddings(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"embeddings have shapes {list(np.shape(first))} and {list(np.shape(second))}, expected the same [N, D]"
        )
    left, right = (
        finite_rows(np.asarray(embeddings, dtype=np.float64), name)
        for embeddings, name in ((first, "first of each pair"), (second, "second of each pair"))
    )
    return left, right
