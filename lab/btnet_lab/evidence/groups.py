"""Records brought together under what a table calls them, and whether one group is better than another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from btnet_lab.evidence.record import Record
from btnet_lab.report.table import Cell, Spread
from btnet_lab.report.verification_scores import pair_key

FULL = "112&112"
Groups = Mapping[str, Sequence[Record]]


def grouped(records: Iterable[Record], place: str) -> dict[str, list[Record]]:
    """Records of a table by what they are called in it, in the order of the plan."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if place in record.places:
            found.setdefault(record.places[place], []).append(record)
    return found


def pairs_of(groups: Groups) -> list[str]:
    """Pairs of resolutions that any of them was measured at: cross-resolution first, each kind from small to large."""
    return sorted(
        {pair for group in groups.values() for record in group for pair in record.accuracy}, key=pair_key
    )


def members(group: Sequence[Record], pair: str) -> list[Record]:
    """Who answers a pair: the branch for its smaller size, or a trunk; at full resolution anybody."""
    low = pair_key(pair)[1]
    of_pair = [record for record in group if pair in record.accuracy]
    return [record for record in of_pair if record.resolution in (0, low)] or of_pair


def values(group: Sequence[Record], pair: str) -> list[float]:
    """Accuracy of every seed at a pair, in [0, 1]."""
    return [record.accuracy[pair] for record in members(group, pair)]


def mean(group: Sequence[Record], pair: str) -> float | None:
    """Over seeds, in [0, 1]; None where nothing was measured."""
    found = values(group, pair)
    return float(np.mean(found)) if found else None


def accuracy_cell(group: Sequence[Record], pair: str) -> Cell:
    """In %: the mean over seeds and their standard deviation (n - 1), or the one number that there is."""
    found = members(group, pair)
    percent = [100 * record.accuracy[pair] for record in found]
    if len({record.seed for record in found}) < 2 or (pair == FULL and np.ptp(percent) == 0):
        return float(np.mean(percent)) if percent else None
    return Spread(float(np.mean(percent)), float(np.std(percent, ddof=1)))


def named_rows(records: Iterable[Record]) -> str:
    """Names of the rows, each once, for a caption."""
    return ", ".join(dict.fromkeys(record.name for record in records))


NOTE = (
    "Differences are in percentage points. Significant: the 95 % interval of the paired bootstrap over people excludes "
    '0, and the difference is more than twice its standard error over seeds. "one seed": neither model has a second, '
    "so the bootstrap decides alone."
)


def signed(points: float) -> str:
    """With two digits and a sign; what rounds to nothing has a plus."""
    return f"{round(points, 2) + 0.0:+.2f}"


@dataclass(frozen=True)
class Difference:
    """First minus second at one pair of resolutions, in points of %.

    Attributes:
        points: difference of the means over seeds.
        interval: of the paired bootstrap over people; None where that was not made.
        seeds: twice the standard error by the seeds' spread; None where no row has two.
    """

    points: float
    interval: tuple[float, float] | None
    seeds: float | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant, over people and over seeds."""
        beyond_people = self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]
        return beyond_people and (self.seeds is None or abs(self.points) > self.seeds)

    @property
    def verdict(self) -> str | None:
        """For a cell; None where no bootstrap was made."""
        if self.interval is None:
            return None
        if not self.significant:
            return "no"
        return "yes" if self.seeds is not None else "one seed"

    @property
    def interval_text(self) -> str | None:
        """For a cell."""
        return None if self.interval is None else " to ".join(map(signed, self.interval))


def difference(
    first: Sequence[Record], second: Sequence[Record], pair: str, comparisons: Sequence[Mapping[str, Any]]
) -> Difference | None:
    """Compare two groups at a pair.

    Returns:
        None where one of them was not measured.
    """
    ours, theirs = members(first, pair), members(second, pair)
    if not ours or not theirs:
        return None
    samples = [[100 * record.accuracy[pair] for record in found] for found in (ours, theirs)]
    return Difference(
        float(np.mean(samples[0]) - np.mean(samples[1])),
        _interval(ours[0].name, theirs[0].name, pair, comparisons),
        _twice_standard_error(samples),
    )


def _interval(
    first: str, second: str, pair: str, comparisons: Sequence[Mapping[str, Any]]
) -> tuple[float, float] | None:
    for found in comparisons:
        if found["pair"] != pair:
            continue
        low, high = 100 * found["low"], 100 * found["high"]
        if (found["first"], found["second"]) == (first, second):
            return low, high
        if (found["first"], found["second"]) == (second, first):
            return -high, -low
    return None


def _twice_standard_error(samples: Sequence[Sequence[float]]) -> float | None:
    """Of the difference of two means, the seeds' variance pooled over those that have two or more."""
    freedom = sum(len(sample) - 1 for sample in samples)
    if freedom == 0:
        return None
    variance = sum(float(np.var(sample)) * len(sample) for sample in samples) / freedom
    return 2 * math.sqrt(variance * sum(1 / len(sample) for sample in samples))
