"""Learning curves: errors by images seen and by people, and the power law fitted to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from btnet_lab.evidence.groups import FULL, pairs_of
from btnet_lab.evidence.record import Record
from btnet_lab.report.verification_scores import pair_key

CURVES: Final = {"passes": "images seen", "identities": "people, as many images seen"}
"""Place of the rows -> what the axis says."""

PAPERS_SIZE: Final = {"passes": 51_795_100, "identities": 93_431}
"""MS1MV3, which the paper trains on, by place: images that a branch sees in its ten passes, and people."""

_LEAST_POINTS = 3


@dataclass(frozen=True)
class Curve:
    """Errors of one pair of resolutions.

    Attributes:
        pair: "112&14".
        sizes: images seen, or people; rising.
        errors: 1 - accuracy in [0, 1] of every seed, by size.
    """

    pair: str
    sizes: list[int]
    errors: list[list[float]]

    @property
    def means(self) -> list[float]:
        """Over seeds."""
        return [float(np.mean(values)) for values in self.errors]

    @property
    def line(self) -> tuple[float, float] | None:
        """Least squares a, b of log(error) = a + b log(size); None with fewer than three points, or no error."""
        if len(self.sizes) < _LEAST_POINTS or min(self.means) <= 0:
            return None
        slope, start = np.polyfit(np.log(self.sizes), np.log(self.means), 1)
        return float(start), float(slope)

    @property
    def kept_by_doubling(self) -> float | None:
        """Share of the errors that is left when the size doubles, by the line."""
        return None if self.line is None else 2 ** self.line[1]

    def error_at(self, size: float) -> float | None:
        """The line's value at another size."""
        return None if self.line is None else math.exp(self.line[0] + self.line[1] * math.log(size))


def curves(records: Sequence[Record], place: str) -> list[Curve]:
    """Curves of the rows that stand in a place, cross-resolution first; [] with fewer than two sizes."""
    chosen = [record for record in records if place in record.places]
    by_size: dict[int, list[Record]] = {}
    for record in sorted(chosen, key=lambda record: _size(record, place)):
        by_size.setdefault(_size(record, place), []).append(record)
    if len(by_size) < 2:
        return []
    return [
        Curve(
            pair,
            list(by_size),
            [[1 - record.accuracy[pair] for record in found] for found in by_size.values()],
        )
        for pair in sorted(pairs_of({place: chosen}), key=pair_key)
        if pair != FULL
    ]


def _size(record: Record, place: str) -> int:
    return record.cost.num_images if place == "passes" else int(record.data["num_identities"])
