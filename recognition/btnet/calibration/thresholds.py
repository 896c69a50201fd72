"""Thresholds at stated false match rates, measured on pairs of different people; embeddings in, numbers out.

Pairs that share a person are not independent: intervals draw people, for both sides of a pair at once (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993).
"""

# N faces of a view, P people, K impostor pairs that are kept

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_rows

__all__ = [
    "MIN_FALSE_MATCHES",
    "Impostors",
    "Threshold",
    "View",
    "false_positive_rates",
    "measure_thresholds",
]

MIN_FALSE_MATCHES = 10
"""A false match rate is measurable where so many false matches are expected."""
_KEPT = 3  # times the largest rate: a draw of people may have more high scores than the people as they are
_NUM_DRAWS = 200


class View(NamedTuple):
    """Faces seen at one size in px: embeddings [N, D], and the number of each face's person and photograph, [N]."""

    size: int
    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]
    photographs: NDArray[np.int64]


@dataclass(frozen=True)
class Threshold:
    """Two faces of these sizes match where their cosine is above `threshold`.

    Attributes:
        sizes: of the two faces in px, the smaller first.
        fmr: false match rate: the share of the pairs of different people that match.
        num_impostor_pairs: that the rate was measured on.
        num_matched_pairs: of two photographs of one person; where nobody has two, of two views of one photograph.
        threshold: None where fewer than `MIN_FALSE_MATCHES` false matches are expected: not measurable.
        interval: of the threshold, 95 % over people; None likewise.
        tar: share of the matched pairs that match; None likewise, or without matched pairs.
        fpir: false positive identification rate at this threshold, by the number of people in the gallery.
    """

    sizes: tuple[int, int]
    fmr: float
    num_impostor_pairs: int
    num_matched_pairs: int
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    tar: float | None = None
    fpir: dict[int, float] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[str, str, str]:
        """Threshold, interval and TAR in %, as tables show them."""
        return (
            "not measurable" if self.threshold is None else f"{self.threshold:.3f}",
            "-" if self.interval is None else f"{self.interval[0]:.3f} to {self.interval[1]:.3f}",
            "-" if self.tar is None else f"{100 * self.tar:.1f}",
        )


class Impostors:
    """The highest scores of pairs of different people, as they are and for any draw of the people.

    `num_people` counts those of both views, `num_pairs` all pairs (of one view with itself, each once); `matched` holds
    the scores of the matched pairs.
    """

    def __init__(self, first: View, second: View, largest_fmr: float) -> None:
        """Score all pairs of two views, or of one, and keep what thresholds up to `largest_fmr` need."""
        scores_NN = unit_rows(first.embeddings, "faces") @ unit_rows(second.embeddings, "faces").T
        same_NN = first.people[:, None] == second.people
        twice_NN = first.photographs[:, None] == second.photographs
        self._is_one = first is second
        counted_NN = np.triu(np.ones_like(same_NN), k=1) if self._is_one else np.ones_like(same_NN)
        matched_NN = same_NN & ~twice_NN
        self.matched = scores_NN[(matched_NN if matched_NN.any() else twice_NN) & counted_NN]
        flat = np.flatnonzero(~same_NN & counted_NN)
        self.num_pairs = len(flat)
        values = scores_NN.reshape(-1)[flat]
        left_out = max(len(flat) - int(_KEPT * largest_fmr * len(flat)) - MIN_FALSE_MATCHES, 0)
        highest = np.argpartition(values, left_out)[left_out:]
        highest = highest[np.argsort(-values[highest], kind="stable")]
        self._scores_K = values[highest]
        rows, columns = np.divmod(flat[highest], scores_NN.shape[1])
        self._people_K = first.people[rows], second.people[columns]
        self.num_people = 1 + int(max(first.people.max(), second.people.max()))
        self._faces_P = [np.bincount(view.people, minlength=self.num_people) for view in (first, second)]

    def thresholds(self, fmrs: Sequence[float], times_P: NDArray[np.int64] | int = 1) -> NDArray[np.float32]:
        """The lowest scores above which at most these shares of the pairs lie, everybody counted `times_P` times."""
        weights_K, num_pairs = self._counted(times_P)
        places = np.searchsorted(np.cumsum(weights_K), np.array(fmrs) * num_pairs + 1e-9, "right")
        return np.asarray(self._scores_K[np.minimum(places, len(weights_K) - 1)])

    def rate(self, threshold: float, times_P: NDArray[np.int64] | int = 1) -> float:
        """Share of the pairs above a threshold, among the highest scores, everybody counted `times_P` times."""
        weights_K, num_pairs = self._counted(times_P)
        return float(weights_K[self._scores_K > threshold].sum()) / num_pairs

    def _counted(self, times_P: NDArray[np.int64] | int) -> tuple[NDArray[np.int64], float]:
        """How often each kept pair counts, and how many pairs of different people there are."""
        times = np.broadcast_to(times_P, self.num_people)
        first, second = (faces * times for faces in self._faces_P)
        num_pairs = (first.sum() * second.sum() - first @ second) / (2 if self._is_one else 1)
        return times[self._people_K[0]] * times[self._people_K[1]], float(num_pairs)


def measure_thresholds(first: View, second: View, fmrs: Sequence[float]) -> list[Threshold]:
    """Thresholds of two faces of the sizes of two views, or of the size of one, at each false match rate."""
    impostors = Impostors(first, second, max(fmrs))
    people = np.full(impostors.num_people, 1 / impostors.num_people)
    draws = np.random.default_rng(0).multinomial(impostors.num_people, people, size=_NUM_DRAWS)
    ends = np.quantile([impostors.thresholds(fmrs, times_P) for times_P in draws], [0.025, 0.975], axis=0)
    sizes = (min(first.size, second.size), max(first.size, second.size))
    found = []
    for fmr, threshold, interval in zip(
        fmrs, impostors.thresholds(fmrs).tolist(), ends.T.tolist(), strict=True
    ):
        known = Threshold(sizes, fmr, impostors.num_pairs, impostors.matched.size)
        if fmr * impostors.num_pairs >= MIN_FALSE_MATCHES:
            tar = float(np.mean(impostors.matched > threshold)) if impostors.matched.size else None
            known = replace(known, threshold=threshold, interval=tuple(interval), tar=tar)
        found.append(known)
    return found


def false_positive_rates(
    gallery: View, probes: View, threshold: float, num_people: Sequence[int]
) -> dict[int, float]:
    """Share of the searches for somebody who is not enrolled that find a match, by the number of people enrolled.

    Each gallery is a subset of the people with one face each. The mean over all subsets is exact: of M people, m of
    whom match a probe, n hold none of the m with probability C(M - m, n) / C(M, n). More than M people give no rate.
    """
    enrolled, rows = np.unique(gallery.people, return_index=True)
    scores = unit_rows(gallery.embeddings[rows], "gallery") @ unit_rows(probes.embeddings, "probes").T
    matches = np.count_nonzero((scores > threshold) & (enrolled[:, None] != probes.people), axis=0)
    others, i = len(enrolled) - 1, np.arange(int(matches.max(initial=0)))
    return {
        n: float(
            1 - np.cumprod(np.append(1.0, np.clip((others - n - i) / (others - i), 0, None)))[matches].mean()
        )
        for n in num_people
        if n <= others
    }
