"""IJB-B and IJB-C 1:N identification by two scorers: insightface's (and the authors'), and the standard's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from btnet.evaluation.cosine import Array
from btnet.evaluation.mates import Enrolled, checked_ids, rank_rates
from btnet.evaluation.rates import impostor_thresholds

__all__ = ["Ijb1NResult", "ijb_1n", "ijb_1n_standard"]

FPIRS = (0.01, 0.1)
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Ijb1NResult:
    """TPIR at FPIR and rank-k.

    Attributes:
        tpir: by FPIR, in [0, 1].
        rank_rate: share of mated probes whose mate is among the first k, by k.
        threshold: a mate must score above it, by FPIR; empty where galleries were searched apart.
        num_impostors: searches that FPIR is counted over, the fewest of a gallery (`rates.is_measurable`).
        per_gallery: the same of each gallery, where they were searched apart.
    """

    tpir: dict[float, float]
    rank_rate: dict[int, float]
    threshold: dict[float, float]
    num_impostors: int
    per_gallery: tuple["Ijb1NResult", ...] = ()


def ijb_1n(
    gallery: Array,
    gallery_ids: Array,
    probes: Array,
    probe_ids: Array,
    *,
    fpirs: Sequence[float] = FPIRS,
    ranks: Sequence[int] = RANKS,
) -> Ijb1NResult:
    """The scorer of insightface, which the BTNet authors use: galleries joined, threshold from impostors.

    Every probe has its mate in G1 + G2, so nobody is unknown. The threshold at "FPIR" f is the
    ceil(f P)-th highest of *all* scores of the P probes with other people's templates; a mate must score above
    it, at whatever rank. Its numbers are those of published tables, but not a TPIR of the IJB protocol:
    for that, see `ijb_1n_standard`.

    Args:
        gallery: templates of both galleries, one a person, [G, D].
        gallery_ids: whose, [G].
        probes: templates, [P, D].
        probe_ids: whose, [P].
        fpirs: targets, in (0, 1).
        ranks: the k of rank-k.

    Returns:
        TPIR and rank-k.

    Raises:
        ValueError: if a set is empty, an embedding is not finite, ids repeat in the gallery, a probe has no
            mate there, or a target is outside (0, 1).
    """
    counts = {fpir: _num_impostors(fpir, len(probes)) for fpir in fpirs}
    keep = max(counts.values(), default=1)
    enrolled = Enrolled(gallery, gallery_ids, one_per_id=True)
    mate_scores, found, highest = [], [], np.empty(0)
    for standing in enrolled.standings(probes, probe_ids):
        mate_scores.append(standing.mate_score)
        found.append(standing.rank)
        highest = _highest(np.concatenate([highest, standing.scores[~standing.is_mate]]), keep)
    if len(highest) < keep:
        raise ValueError(
            f"{len(highest)} impostor scores set no threshold for FPIR {max(fpirs):g}, which takes {keep}; "
            "expected a gallery of more people"
        )
    scores = np.concatenate(mate_scores)
    thresholds = {fpir: float(highest[count - 1]) for fpir, count in counts.items()}
    return Ijb1NResult(
        tpir={fpir: float(np.mean(scores > threshold)) for fpir, threshold in thresholds.items()},
        rank_rate=rank_rates(np.concatenate(found), ranks),
        threshold=thresholds,
        num_impostors=len(probes),
    )


def ijb_1n_standard(
    galleries: Sequence[tuple[Array, Array]],
    probes: Array,
    probe_ids: Array,
    *,
    fpirs: Sequence[float] = FPIRS,
    ranks: Sequence[int] = RANKS,
) -> Ijb1NResult:
    """The IJB protocol: all probes search each gallery apart; those enrolled only elsewhere are the non-mates.

    TPIR at FPIR is that of `open_set` (exact, the mate at any rank), rank-k is over the mated
    probes; both are averaged over the galleries.

    Args:
        galleries: G1 and G2 as (templates [G, D], ids [G]), one template a person.
        probes: as in `ijb_1n`, and so the rest.
        probe_ids: whose, [P].
        fpirs: targets, in (0, 1).
        ranks: the k of rank-k.

    Raises:
        ValueError: as `ijb_1n`; or if a probe is in no gallery, or a gallery leaves no mate or no non-mate.
    """
    if not galleries:
        raise ValueError("no gallery to search; expected G1 and G2 as (templates, ids)")
    enrolled = [Enrolled(templates, ids, one_per_id=True) for templates, ids in galleries]
    people = checked_ids(probe_ids, len(probes), "probes")
    nowhere = np.flatnonzero(~np.any([gallery.has(people) for gallery in enrolled], axis=0))
    if nowhere.size:
        raise ValueError(
            f"{nowhere.size} of {len(people)} probes are in no gallery, the first is row {nowhere[0]} of id "
            f"{people[nowhere[0]]!s}; check that ids of probes and galleries are of one kind"
        )
    each = []
    for number, gallery in enumerate(enrolled, 1):
        mated = gallery.has(people)
        if mated.all() or not mated.any():
            raise ValueError(
                f"gallery {number} holds mates of {mated.sum()} of {len(mated)} probes; an open set needs both "
                "mated and unmated ones: pass G1 and G2 apart, not joined"
            )
        scores, found = gallery.mates(probes[mated], people[mated])
        thresholds = impostor_thresholds(gallery.best_scores(probes[~mated]), fpirs)
        tpir = {fpir: float(np.mean(scores > threshold)) for fpir, threshold in thresholds.items()}
        num_unmated = int(np.count_nonzero(~mated))
        each.append(Ijb1NResult(tpir, rank_rates(found, ranks), thresholds, num_unmated))
    return Ijb1NResult(
        tpir={fpir: float(np.mean([result.tpir[fpir] for result in each])) for fpir in fpirs},
        rank_rate={rank: float(np.mean([result.rank_rate[rank] for result in each])) for rank in ranks},
        threshold={},
        num_impostors=min(result.num_impostors for result in each),
        per_gallery=tuple(each),
    )


def _num_impostors(fpir: float, num_probes: int) -> int:
    if not 0 < fpir < 1:
        raise ValueError(f"FPIR {fpir} is no rate to aim at; expected a number between 0 and 1, e.g. 0.01")
    return math.ceil(fpir * num_probes)


def _highest(values: Array, count: int) -> Array:
    if len(values) > count:
        values = np.partition(values, len(values) - count)[-count:]
    return np.sort(values)[::-1]
