"""Where the mate of each probe stands in a gallery: what all 1:N scorers count.

Ties count against the model, whatever the order of the rows: a mate stands behind every gallery row of another
person that has its very score, so embeddings that have collapsed into one find nobody. Equal means equal as
computed: the last bit of a cosine may depend on the size of the arrays it is computed with.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from btnet.evaluation.cosine import Array, finite_rows, score_blocks

__all__ = ["Enrolled", "Standing", "checked_ids", "rank_rates"]


@dataclass(frozen=True, eq=False)
class Standing:
    """Scores of some probes against a gallery.

    Attributes:
        rows: which probes.
        scores: [rows, G].
        is_mate: which gallery rows show the probe's person, [rows, G].
        mate_score: that of the best mate, [rows].
        rank: of the best mate, from 1: one more than there are other people's rows that score as high, [rows].
    """

    rows: slice
    scores: Array
    is_mate: Array
    mate_score: Array
    rank: Array


class Enrolled:
    """Enrolled embeddings and whose they are.

    Args:
        embeddings: [G, D], of any length.
        ids: whose, [G]: integers or strings.
        one_per_id: refuse several rows of one person.

    Raises:
        ValueError: if there is no row, the lengths disagree, or ids repeat against `one_per_id`.
    """

    def __init__(self, embeddings: Array, ids: Array, *, one_per_id: bool) -> None:
        self.embeddings = np.asarray(embeddings)
        self._known, self._codes, counts = np.unique(
            checked_ids(ids, len(self.embeddings), "gallery"), return_inverse=True, return_counts=True
        )
        if one_per_id and (counts > 1).any():
            repeated = self._known[counts > 1]
            raise ValueError(
                f"gallery: {len(repeated)} ids occur more than once, the first {repeated[0]!s}; this protocol "
                "enrols a person once: pool the rows first (btnet.evaluation.templates.identity_means)"
            )

    def has(self, ids: Array) -> Array:
        """Which of these ids are enrolled, bool."""
        return np.isin(np.asarray(ids), self._known)

    def standings(
        self, probes: Array, probe_ids: Array, *, distractors: Array | None = None
    ) -> Iterator[Standing]:
        """Score probes that all have a mate, block by block.

        Args:
            probes: [P, D].
            probe_ids: [P].
            distractors: further gallery rows that show nobody among the probes, [N, D].

        Raises:
            ValueError: if lengths disagree, an embedding is not finite, or a probe has no mate in the gallery.
        """
        ids = checked_ids(probe_ids, len(probes), "probes")
        missing = np.flatnonzero(~self.has(ids))
        if missing.size:
            raise ValueError(
                f"{missing.size} of {len(ids)} mated probes have no mate in the gallery, the first is row "
                f"{missing[0]} of id {ids[missing[0]]!s}; enrol the person, or count the probe as unmated"
            )
        codes = np.searchsorted(self._known, ids)
        everybody, everybody_codes = self.embeddings, self._codes
        if distractors is not None and len(distractors):
            if np.shape(distractors)[1:] != everybody.shape[1:]:
                raise ValueError(
                    f"distractors have shape {list(np.shape(distractors))} and gallery {list(everybody.shape)}; "
                    "expected the same D: embeddings of one model"
                )
            everybody = np.concatenate([everybody, finite_rows(distractors, "distractors")])
            everybody_codes = np.concatenate([self._codes, np.full(len(distractors), -1)])
        for rows, scores in score_blocks(probes, everybody):
            is_mate = codes[rows, None] == everybody_codes
            mate_score = np.where(is_mate, scores, -np.inf).max(axis=1)
            ahead = np.count_nonzero((scores >= mate_score[:, None]) & ~is_mate, axis=1)
            yield Standing(rows, scores, is_mate, mate_score, ahead + 1)

    def mates(self, probes: Array, probe_ids: Array) -> tuple[Array, Array]:
        """Score and rank of each probe's best mate, [P] each. As `standings`."""
        found = [(s.mate_score, s.rank) for s in self.standings(probes, probe_ids)]
        scores, ranks = zip(*found, strict=True)
        return np.concatenate(scores), np.concatenate(ranks)

    def best_scores(self, probes: Array) -> Array:
        """Highest score of each probe with anybody, [P]. As `standings`."""
        blocks = score_blocks(probes, self.embeddings, names=("unmated probes", "gallery"))
        return np.concatenate([scores.max(axis=1) for _, scores in blocks])


def rank_rates(ranks_of_probes: Array, ranks: Sequence[int]) -> dict[int, float]:
    """Share of probes whose mate stands at rank k or before, for each k."""
    return {rank: float(np.mean(ranks_of_probes <= rank)) for rank in ranks}


def checked_ids(ids: Array, num_embeddings: int, name: str) -> Array:
    """The ids as an array, one for each of at least one embedding.

    Raises:
        ValueError: if they are not, saying whose ids (`name`).
    """
    values = np.asarray(ids)
    if values.shape != (num_embeddings,):
        raise ValueError(
            f"{name}: ids have shape {list(values.shape)} for {num_embeddings} embeddings; expected one each"
        )
    if not num_embeddings:
        raise ValueError(f"{name}: the set is empty; expected at least one embedding")
    return values
