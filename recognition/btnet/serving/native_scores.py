"""Sets of native faces from their embeddings, scored 1:N and 1:1, as entries of a result file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.identification import closed_set, open_set, open_set_survface
from btnet.evaluation.rates import measurable
from btnet.evaluation.templates import identity_means
from btnet.evaluation.verification import kfold_accuracy, pair_scores, roc_auc, tar_at_fars
from btnet.public_sets.image_sets import NOBODY, Group, PairSet
from btnet.serving.results import plain

__all__ = ["FARS", "FPIRS", "RANKS", "Embedded", "score_closed_set", "score_pairs", "score_survface"]

RANKS: Final = (1, 5, 10, 20)
FPIRS: Final = (0.3, 0.2, 0.1, 0.01)
FARS: Final = (0.3, 0.1, 0.01, 0.001)

Entries = list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of a set under one strategy.

    Attributes:
        features: [N, D].
        readable: which of them there are, [N]; the others count nowhere.
    """

    features: NDArray[np.float32]
    readable: NDArray[np.bool_]

    def group(self, group: Group) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embeddings and identities of a group."""
        readable = self.readable[group.rows]
        return self.features[group.rows][readable], group.ids[readable]


def score_closed_set(embedded: Embedded, groups: Mapping[str, Group], probe_groups: Sequence[str]) -> Entries:
    """Closed-set 1:N: an entry for each group of probes, the group "gallery" with its distractors searched.

    Raises:
        ValueError: as `closed_set`.
    """
    gallery, ids = embedded.group(groups["gallery"])
    distractors = gallery[ids == NOBODY]
    entries = []
    for name in probe_groups:
        found = closed_set(
            gallery[ids != NOBODY],
            ids[ids != NOBODY],
            *embedded.group(groups[name]),
            distractors=distractors if len(distractors) else None,
            ranks=RANKS,
        )
        entries.append(
            {
                "probes": name,
                "rank": plain(found.rank_rate),
                "map": found.mean_average_precision,
                "map_trapezoid": found.mean_average_precision_trapezoid,
                "num_probes": found.num_probes,
                "num_gallery": found.num_gallery,
            }
        )
    return entries


def score_survface(embedded: Embedded, groups: Mapping[str, Group]) -> Entries:
    """Open-set 1:N, an entry for each of two scorers; a gallery identity is the mean of its embeddings.

    Raises:
        ValueError: as `open_set`.
    """
    prototypes, people = identity_means(*embedded.group(groups["gallery"]))
    mated, mated_ids = embedded.group(groups["mated"])
    unmated, _ = embedded.group(groups["unmated"])
    entries = []
    for name, scorer in (("exact", open_set), ("1000 thresholds", open_set_survface)):
        found = scorer(prototypes, people, mated, mated_ids, unmated, fpirs=FPIRS)
        entries.append(
            {
                "scorer": name,
                "tpir20": plain(measurable(found.tpir, found.num_unmated)),
                "fpir_reached": plain(found.fpir),
                "auc": found.auc,
                "num_mated": found.num_mated,
                "num_unmated": found.num_unmated,
                "num_people": len(people),
            }
        )
    return entries


def score_pairs(embedded: Embedded, pairs: PairSet) -> Entries:
    """1:1 of the pairs whose images there are, in one entry.

    Raises:
        ValueError: as `kfold_accuracy`.
    """
    there = embedded.readable[pairs.first] & embedded.readable[pairs.second]
    first, second = embedded.features[pairs.first[there]], embedded.features[pairs.second[there]]
    issame = pairs.issame[there]
    accuracy, std = kfold_accuracy(first, second, issame, pairs.num_folds)
    scores = pair_scores(first, second)
    num_impostors = int((~issame).sum())
    return [
        {
            "tar_at_far": plain(measurable(tar_at_fars(scores, issame, FARS), num_impostors)),
            "num_impostors": num_impostors,
            "auc": roc_auc(scores, issame),
            "accuracy": accuracy,
            "std": std,
            "num_scored": len(issame),
        }
    ]
