"""Records brought together under what a table calls them: seeds, and the resolutions of one model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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
