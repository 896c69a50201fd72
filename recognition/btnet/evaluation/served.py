"""The served curve: by the size of the probe, a model as it is served against its trunk alone (small faces enlarged).

The gallery is at the canonical size. Embeddings in, numbers out; `btnet.serving.served` runs the networks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.bootstrap import PairedDifference, paired_bootstrap
from btnet.evaluation.cosine import unit_rows
from btnet.evaluation.verification import kfold_correct, pair_scores

__all__ = ["ServedPairs", "ServedPoint", "distinct_faces", "served_pairs", "served_point", "strangers"]

_MIN_MATCHED = 20
_MOST_MATCHED = 3000
_DEVIATIONS = 5.0


class ServedPairs(NamedTuple):
    """Rows of gallery faces and probes [P], whether they show one person [P] (in turns), and both people [P, 2]."""

    gallery: NDArray[np.int64]
    probe: NDArray[np.int64]
    issame: NDArray[np.bool_]
    people: NDArray[np.int64]
    truth: str


@dataclass(frozen=True)
class ServedPoint:
    """One size of the probe in px, the network that served it, and 10-fold accuracies in [0, 1].

    `difference` is that of the model and the trunk alone, with its interval over people.
    """

    size: int
    network: str
    accuracy: float
    trunk_accuracy: float
    difference: PairedDifference

    @property
    def verdict(self) -> str:
        """Whether the model is significantly "better" or "worse" than the trunk, else "not shown to be better"."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "not shown to be better"

    def as_dict(self) -> dict[str, Any]:
        """For a JSON document."""
        return {**asdict(self), "verdict": self.verdict}


def strangers(cosines: NDArray[np.float32]) -> tuple[float, float]:
    """Median cosine of two strangers, and the one from which on two faces may show one person.

    Assumes that most of the pairs show strangers, whose cosines are close to normal: the limit lies 5 deviations above
    their median. Of a real trunk 5e-6 of the impostor pairs lie above it.
    """
    # The lower half of the bulk: pairs of one person, should there be many, lie above.
    low, median = np.quantile(cosines, [0.159, 0.5])
    return float(median), float(median + _DEVIATIONS * (median - low))


def distinct_faces(embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows of faces that show different people, as far as the trunk can tell; for faces without identities.

    Assumes that most pairs show different people: a cosine far outside the bulk of all pairs' is taken for one person,
    whose first face is kept. `embeddings` are the trunk's at its canonical size, [N, D].
    """
    rows = unit_rows(embeddings, "faces")
    scores = rows @ rows.T
    _, limit = strangers(scores[~np.eye(len(rows), dtype=np.bool_)])
    kept: list[int] = []
    for row in range(len(rows)):
        if not (scores[row, kept] > limit).any():
            kept.append(row)
    return np.array(kept, np.int64)


def served_pairs(labels: NDArray[np.int64] | None, num_faces: int) -> ServedPairs:
    """Pairs of a gallery face and a probe, as many of one person as of two.

    Where nobody says who the faces show (None), each is its own mate, seen small, and all others are different people
    (`distinct_faces`).

    Raises:
        ValueError: if there are too few pairs of one person.
    """
    generator = np.random.default_rng(0)
    people = np.arange(num_faces) if labels is None else labels
    same = people[:, None] == people
    matched = np.stack(np.nonzero(same & (np.eye(num_faces, dtype=np.bool_) == (labels is None))))
    if matched.shape[1] < _MIN_MATCHED or same.all():
        raise ValueError(
            f"{num_faces} faces of {len(np.unique(people))} people hold {matched.shape[1]} pairs of one person; "
            f"expected two people and {_MIN_MATCHED} pairs: give more faces, two or more of each person"
        )
    matched = matched[:, generator.permutation(matched.shape[1])[:_MOST_MATCHED]]
    impostors = np.stack(np.nonzero(~same))
    impostors = impostors[:, generator.integers(impostors.shape[1], size=matched.shape[1])]
    both = np.stack([matched, impostors], axis=2).reshape(2, -1)
    truth = "verdicts of the trunk" if labels is None else "identities"
    return ServedPairs(both[0], both[1], np.arange(both.shape[1]) % 2 == 0, people[both].T, truth)


def served_point(
    size: int,
    network: str,
    pairs: ServedPairs,
    gallery: NDArray[np.float32],
    probes: NDArray[np.float32],
    trunk_probes: NDArray[np.float32],
) -> ServedPoint:
    """Judge one size, by embeddings [N, D] of the faces at the canonical size, and small by the model and the trunk."""
    model, trunk = (
        kfold_correct(pair_scores(gallery[pairs.gallery], found[pairs.probe]), pairs.issame)
        for found in (probes, trunk_probes)
    )
    difference = paired_bootstrap(model, trunk, pairs.issame, pairs.people)
    return ServedPoint(size, network, float(model.mean()), float(trunk.mean()), difference)
