"""Thresholds at stated false match rates, measured on pairs of different people, and how far they can be trusted.

Pairs that share a person are not independent: intervals draw people, on both sides of a pair at once (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993). Embeddings in, numbers out.
"""

# N faces of a view, P people, K impostor pairs that are kept

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_rows
from btnet.evaluation.rates import check_far

__all__ = ["Impostors", "Threshold", "View", "false_positive_rates", "measure_thresholds"]

MIN_FALSE_MATCHES = 10
"""A false match rate is measurable where so many false matches are expected."""
_KEPT = 3  # times the largest rate: a draw of people may have more high scores than the people as they are


@dataclass(frozen=True, eq=False)
class View:
    """Faces seen at one size.

    Attributes:
        size: in px.
        embeddings: [N, D], of any length.
        people: who they show, from 0, int64 [N].
        photographs: which photograph each is of, int64 [N]; views of one photograph share its number.
    """

    size: int
    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]
    photographs: NDArray[np.int64]


@dataclass(frozen=True)
class Threshold:
    """Two faces of these sizes match where their cosine is above `threshold`.

    Attributes:
        sizes: of the two faces in px, the smaller first.
        fmr: false match rate, the share of the pairs of different people that match.
        threshold: None where fewer than `MIN_FALSE_MATCHES` false matches are expected: not measurable.
        low: lower end of its 95 % interval over people; None likewise.
        high: upper end.
        tar: share of the matched pairs that match; None likewise, or where there is no matched pair.
        num_impostor_pairs: that the rate was measured on.
        num_matched_pairs: of two photographs of one person (where nobody has two: two views of one photograph).
    """

    sizes: tuple[int, int]
    fmr: float
    threshold: float | None
    low: float | None
    high: float | None
    tar: float | None
    num_impostor_pairs: int
    num_matched_pairs: int


class Impostors:
    """The highest scores of pairs of different people, for any draw of the people.

    Attributes:
        num_pairs: of different people in all; of one view with itself, each pair counts once.
        matched: scores of the matched pairs.
    """

    def __init__(self, first: View, second: View, largest_fmr: float) -> None:
        """Score all pairs of two views (or of one), and keep what thresholds up to `largest_fmr` need."""
        scores_NN = (
            unit_rows(first.embeddings, f"{first.size} px")
            @ unit_rows(second.embeddings, f"{second.size} px").T
        )
        same_NN = first.people[:, None] == second.people
        twice_NN = first.photographs[:, None] == second.photographs
        self._is_one = first is second
        counted_NN = np.triu(np.ones_like(same_NN), k=1) if self._is_one else np.ones_like(same_NN)
        matched_NN = same_NN & ~twice_NN
        if not matched_NN.any():
            matched_NN = twice_NN
        self.matched = scores_NN[matched_NN & counted_NN]
        flat = np.flatnonzero(~same_NN & counted_NN)
        self.num_pairs = len(flat)
        values = scores_NN.reshape(-1)[flat]
        kept = min(len(flat), int(_KEPT * largest_fmr * len(flat)) + MIN_FALSE_MATCHES)
        highest = np.argpartition(values, len(flat) - kept)[len(flat) - kept :]
        highest = highest[np.argsort(-values[highest], kind="stable")]
        self._scores_K = values[highest]
        rows, columns = np.divmod(flat[highest], scores_NN.shape[1])
        self._people_K = first.people[rows], second.people[columns]
        self.num_people = 1 + int(max(first.people.max(), second.people.max()))
        self._faces_P = tuple(np.bincount(view.people, minlength=self.num_people) for view in (first, second))

    def threshold(self, fmr: float, times_P: NDArray[np.int64] | None = None) -> float:
        """The lowest score above which at most a share `fmr` of the pairs lies, everybody counted `times_P` times."""
        if times_P is None:
            return float(self._scores_K[min(int(fmr * self.num_pairs + 1e-9), len(self._scores_K) - 1)])
        above = np.cumsum(self._weights(times_P))
        allowed = fmr * self._count(times_P) + 1e-9
        return float(self._scores_K[min(int(np.searchsorted(above, allowed, "right")), len(above) - 1)])

    def rate(self, threshold: float, times_P: NDArray[np.int64]) -> float:
        """Share of the pairs above a threshold (of those that were kept), everybody counted `times_P` times."""
        above = self._scores_K > threshold
        return float(self._weights(times_P)[above].sum()) / self._count(times_P)

    def predicted(
        self, fmr: float, num_people: int, *, num_draws: int = 1000, level: float = 0.99, seed: int = 0
    ) -> tuple[float, float]:
        """Where the false match rate of so many new people will lie, at the threshold measured here for `fmr`.

        Both have the luck of the draw: those the threshold was measured on, and the new ones.

        Returns:
            Lower and upper end of the interval that holds `level` of the draws.
        """
        generator = np.random.default_rng(seed)
        everybody = np.full(self.num_people, 1 / self.num_people)
        rates = [
            self.rate(self.threshold(fmr, times_P), generator.multinomial(num_people, everybody))
            for times_P in draws_of_people(self.num_people, num_draws, seed=seed + 1)
        ]
        low, high = np.quantile(rates, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def _weights(self, times_P: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(times_P[self._people_K[0]] * times_P[self._people_K[1]])

    def _count(self, times_P: NDArray[np.int64]) -> float:
        """Number of pairs of different people."""
        first, second = (faces * times_P for faces in self._faces_P)
        return float((first.sum() * second.sum() - first @ second) / (2 if self._is_one else 1))


def draws_of_people(num_people: int, num_draws: int, *, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often everybody is drawn, as many as there are, with replacement; int64 [P] each."""
    generator = np.random.default_rng(seed)
    for _ in range(num_draws):
        yield generator.multinomial(num_people, np.full(num_people, 1 / num_people))


def measure_thresholds(
    first: View, second: View, fmrs: Sequence[float], *, num_draws: int = 200, seed: int = 0
) -> list[Threshold]:
    """Thresholds of two faces of these sizes, at each false match rate.

    Args:
        first: faces of one size.
        second: faces of the other size; the same view where both are of one size.
        fmrs: false match rates, in (0, 1).
        num_draws: of people, for the intervals.
        seed: of the draws.

    Raises:
        ValueError: for a rate outside (0, 1), or embeddings that are not finite.
    """
    for fmr in fmrs:
        check_far(fmr)
    impostors = Impostors(first, second, max(fmrs))
    measurable = [fmr for fmr in fmrs if fmr * impostors.num_pairs >= MIN_FALSE_MATCHES]
    drawn = [
        [impostors.threshold(fmr, times_P) for fmr in measurable]
        for times_P in draws_of_people(impostors.num_people, num_draws if measurable else 0, seed=seed)
    ]
    found = []
    for fmr in fmrs:
        threshold = low = high = tar = None
        if fmr in measurable:
            threshold = impostors.threshold(fmr)
            low, high = np.quantile(np.array(drawn)[:, measurable.index(fmr)], [0.025, 0.975]).tolist()
            if impostors.matched.size:
                tar = float(np.mean(impostors.matched > threshold))
        sizes = (min(first.size, second.size), max(first.size, second.size))
        counts = impostors.num_pairs, impostors.matched.size
        found.append(Threshold(sizes, fmr, threshold, low, high, tar, *counts))
    return found


def false_positive_rates(
    gallery: View, probes: View, threshold: float, num_people: Sequence[int]
) -> dict[int, float]:
    """Share of the searches for somebody who is not enrolled that find a match, in galleries of so many people.

    Each gallery is a subset of the people with one face each; the mean over all subsets is exact: of M people, m of
    whom match a probe, a subset of n has none of the m with probability C(M - m, n) / C(M, n).

    Args:
        gallery: its first face of each person is enrolled.
        probes: who are searched for, among the other people.
        threshold: above which a pair matches.
        num_people: of the galleries; those of more people than there are here are left out.

    Returns:
        FPIR by number of people.
    """
    enrolled, rows = np.unique(gallery.people, return_index=True)
    scores = unit_rows(gallery.embeddings[rows], "gallery") @ unit_rows(probes.embeddings, "probes").T
    matches = np.count_nonzero((scores > threshold) & (enrolled[:, None] != probes.people), axis=0)
    others = len(enrolled) - 1
    return {n: float(np.mean(1 - _none_of(matches, others, n))) for n in num_people if n <= others}


def _none_of(matches: NDArray[np.int64], others: int, n: int) -> NDArray[np.float64]:
    """C(others - m, n) / C(others, n) for each m."""
    i = np.arange(int(matches.max(initial=0)))
    factors = np.clip((others - n - i) / (others - i), 0, None)
    return np.concatenate(([1.0], np.cumprod(factors)))[matches]
