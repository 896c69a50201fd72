"""The served curve: by the size of the probe, a model as it is served against its trunk alone (small faces enlarged).

The gallery is at the canonical size. Embeddings in, numbers out; `btnet.serving.served` runs the networks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.bootstrap import PairedDifference, paired_bootstrap
from btnet.evaluation.cosine import unit_rows
from btnet.evaluation.verification import kfold_correct, pair_scores

__all__ = ["ServedPairs", "ServedPoint", "distinct_faces", "served_pairs", "served_point"]

MIN_MATCHED = 20
_MOST_MATCHED = 3000
# Standard deviations above the median of two faces' cosine from which on they may show one person: of normal
# scores one in 30,000 lies there.
_FAR_OUT = 4.0


@dataclass(frozen=True, eq=False)
class ServedPairs:
    """Which faces are compared.

    Attributes:
        gallery: row of each pair's gallery face, [P].
        probe: row of its probe, [P].
        issame: whether they show one person, in turns, bool [P].
        people: of gallery and probe, [P, 2].
        truth: "identities", or "verdicts of the trunk": each face is its own mate, seen small.
    """

    gallery: NDArray[np.int64]
    probe: NDArray[np.int64]
    issame: NDArray[np.bool_]
    people: NDArray[np.int64]
    truth: str


@dataclass(frozen=True)
class ServedPoint:
    """One size of the curve.

    Attributes:
        size: of the probe in px.
        network: that served it.
        accuracy: 10-fold accuracy of the model, in [0, 1].
        trunk_accuracy: of the trunk alone.
        difference: of the two, with its interval over people.
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


def distinct_faces(embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
    """Faces that the trunk takes for different people, where nobody says whose they are.

    Assumes that most pairs of the faces show different people: a cosine far outside the bulk of all pairs' is taken for
    one person, and of those the first face is kept.

    Args:
        embeddings: of the trunk at its canonical size, [N, D].

    Returns:
        Rows, ascending.
    """
    rows = unit_rows(embeddings, "faces")
    scores = rows @ rows.T
    # The lower half of the bulk: mates, should there be many, lie above.
    some = scores[np.tril_indices(len(rows), -1)] if len(rows) > 1 else np.zeros(1)
    low, median = np.quantile(some, [0.159, 0.5])
    alike = np.tril(scores > median + _FAR_OUT * (median - low), k=-1)
    kept = np.ones(len(rows), dtype=np.bool_)
    for row in range(len(rows)):
        kept[row] = not alike[row, kept].any()
    return np.flatnonzero(kept)


def served_pairs(labels: NDArray[np.int64] | None, num_faces: int, *, seed: int = 0) -> ServedPairs:
    """Pairs of a gallery face and a probe: as many of one person as of two, in turns.

    Args:
        labels: who each face shows, [N]; None where nobody says: then the faces must be of different people
            (`distinct_faces`), and each is compared with itself, seen small.
        num_faces: N.
        seed: of the draw.

    Raises:
        ValueError: if there are too few pairs of one person.
    """
    generator = np.random.default_rng(seed)
    people = np.arange(num_faces) if labels is None else np.asarray(labels)
    gallery, probe = np.nonzero(people[:, None] == people)
    if labels is not None:
        gallery, probe = gallery[gallery != probe], probe[gallery != probe]
    if len(gallery) < MIN_MATCHED or len(np.unique(people)) < 2:
        raise ValueError(
            f"{num_faces} faces of {len(np.unique(people))} people hold {len(gallery)} pairs of one person; expected "
            f"{MIN_MATCHED} pairs, and two people: give more faces, two or more of each person"
        )
    chosen = generator.permutation(len(gallery))[:_MOST_MATCHED]
    others = np.empty((2, 0), np.int64)
    while others.shape[1] < len(chosen):
        drawn = generator.integers(num_faces, size=(2, 2 * len(chosen)))
        others = np.concatenate([others, drawn[:, people[drawn[0]] != people[drawn[1]]]], axis=1)
    both = np.stack([np.stack([gallery, probe])[:, chosen], others[:, : len(chosen)]], axis=2).reshape(2, -1)
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
    """Judge one size of the probe.

    Args:
        size: in px.
        network: that serves it, by name.
        pairs: to judge.
        gallery: embeddings of the faces at the canonical size, [N, D].
        probes: of the small faces, by the model as it is served, [N, D].
        trunk_probes: of the small faces enlarged, by the trunk alone, [N, D].
    """
    model, trunk = (
        kfold_correct(pair_scores(gallery[pairs.gallery], found[pairs.probe]), pairs.issame)
        for found in (probes, trunk_probes)
    )
    difference = paired_bootstrap(model, trunk, pairs.issame, pairs.people)
    return ServedPoint(size, network, float(model.mean()), float(trunk.mean()), difference)
