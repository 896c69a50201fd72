"""Is one model better than another, or are these people kind to it? Paired bootstrap over identities.

Pairs that share a person are not independent, so people are drawn, not pairs: both models are judged on the same
draw, and the pairs of a person count as often as the person was drawn (a pair of two people as often as both
together). Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8 and 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["PairedDifference", "paired_bootstrap"]

_AT_A_TIME = 100  # draws; bounds the memory


@dataclass(frozen=True)
class PairedDifference:
    """How much better the first model is.

    Attributes:
        mean: difference of the accuracies on the pairs as they are.
        low: lower end of the interval that holds `confidence` of the draws.
        high: its upper end.
        share_not_above: share of the draws in which the first is not better.
        num_draws: of people.
        confidence: of the interval.
    """

    mean: float
    low: float
    high: float
    share_not_above: float
    num_draws: int
    confidence: float


def paired_bootstrap(
    correct1: npt.NDArray[Any],
    correct2: npt.NDArray[Any],
    issame: npt.NDArray[Any],
    identities: npt.NDArray[Any],
    *,
    num_draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> PairedDifference:
    """Difference of two accuracies, and how it varies with the people one happens to test on.

    Matched and impostor pairs keep their shares in every draw. Which pairs are judged rightly is taken as given:
    thresholds are not chosen anew.

    Args:
        correct1: what the first model judges rightly, bool [P] (`kfold_correct`), or its mean over seeds in [0, 1].
        correct2: likewise the second.
        issame: [P], true where a pair shows one person.
        identities: of both images of each pair, int [P, 2].
        num_draws: of as many people as there are, with replacement.
        confidence: of the interval, in (0, 1).
        seed: of the draws.

    Returns:
        The difference, first minus second.

    Raises:
        ValueError: if the lengths disagree, or all pairs are of one kind.
    """
    difference = np.asarray(correct1, dtype=np.float64) - np.asarray(correct2, dtype=np.float64)
    same = np.asarray(issame).astype(bool)
    people = np.asarray(identities)
    if not (difference.shape == same.shape and people.shape == (len(same), 2)):
        raise ValueError(
            f"decisions {list(difference.shape)}, issame {list(same.shape)}, identities {list(people.shape)}: "
            "expected [P], [P] and [P, 2], one of each per pair"
        )
    if same.all() or not same.any():
        raise ValueError(
            f"all {len(same)} pairs are of one kind; a bootstrap needs matched and impostor pairs"
        )
    names, columns = np.unique(people, return_inverse=True)
    first, second = columns.reshape(people.shape).T
    generator = np.random.default_rng(seed)
    draws = []
    for start in range(0, num_draws, _AT_A_TIME):
        times = generator.multinomial(
            len(names), np.full(len(names), 1 / len(names)), min(_AT_A_TIME, num_draws - start)
        )
        weights = times[:, first] * np.where(same, 1, times[:, second])
        draws.append(_weighted(difference, weights, same))
    drawn = np.concatenate(draws)
    # A draw of few people may lack one kind of pair: it says nothing.
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    mean = float(difference.mean())
    return PairedDifference(mean, float(low), float(high), float(np.mean(drawn <= 0)), len(drawn), confidence)


def _weighted(
    difference: npt.NDArray[np.float64], weights: npt.NDArray[np.int64], same: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Weighted mean by draw, [num_draws], each kind of pair with its share in the whole."""
    total = np.zeros(len(weights))
    for kind in (same, ~same):
        of_kind = weights[:, kind]
        with np.errstate(invalid="ignore"):
            total += kind.mean() * (of_kind @ difference[kind]) / of_kind.sum(axis=1)
    return total
