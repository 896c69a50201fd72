"""IJB's templates from features of images, scored 1:1 and 1:N, as an entry of a result file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from btnet.evaluation.cosine import indexed_pair_scores
from btnet.evaluation.identification import Ijb1NResult, ijb_1n, ijb_1n_standard
from btnet.evaluation.rates import is_measurable, measurable, tar_at_fars, tar_at_nearest_fars
from btnet.evaluation.templates import TemplateOptions, Templates, pool_templates
from btnet.public_sets.ijb import IJB, TemplateList, TemplatePairs
from btnet.serving.feature_file import FeatureFile
from btnet.serving.ijb_features import Seen
from btnet.serving.results import plain

__all__ = ["FARS", "FPIRS", "RANKS", "score_templates"]

FARS: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS: Final = (0.01, 0.1)
RANKS: Final = (1, 5, 10)
_CURVE_FARS: Final = tuple(float(far) for far in np.logspace(-6, -0.01, 120))

Pair = tuple[int, int]


def score_templates(
    files: Mapping[Seen, FeatureFile],
    pair: Pair,
    ijb: IJB,
    options: TemplateOptions,
    pairs: TemplatePairs | None,
    searches: tuple[list[TemplateList], TemplateList] | None,
    lost: Sequence[int],
    *,
    nearest: bool,
) -> dict[str, Any]:
    """Pool the images of a pair of resolutions and score the templates.

    Args:
        files: features by view.
        pair: resolution of the images, and of their mirror images.
        ijb: the set.
        options: how images count within a template.
        pairs: of the 1:1 protocol; None: leave it out.
        searches: galleries and probes of the 1:N protocol; None: leave it out.
        lost: positions of images that could not be read: they are in no mean.
        nearest: read TAR off at the nearest FAR, as insightface does.

    Returns:
        Rates in [0, 1] as result files have them, null where the set cannot carry one.

    Raises:
        ValueError: as `pool_templates` and the scorers.
    """
    there = np.ones(len(ijb.templates), np.bool_)
    there[list(lost)] = False
    pooled = pool_templates(
        files[Seen(pair[0], False)].features,
        ijb.templates,
        ijb.media,
        norm_score=options.norm_score,
        detector_scores=ijb.detector_scores if options.detector_score else None,
        mirrored=files[Seen(pair[1], True)].features if options.flip else None,
        there=there,
    )
    entry: dict[str, Any] = {}
    if pairs is not None:
        entry |= _verify(pooled, pairs, nearest=nearest)
    if searches is not None:
        entry |= _identify(pooled, *searches)
    return entry


def _verify(pooled: Templates, pairs: TemplatePairs, *, nearest: bool) -> dict[str, Any]:
    scores = indexed_pair_scores(pooled.features, pooled.rows(pairs.first), pooled.rows(pairs.second))
    num_impostors = int(np.count_nonzero(~pairs.issame))
    read = tar_at_nearest_fars if nearest else tar_at_fars
    curve = tar_at_fars(
        scores, pairs.issame, [far for far in _CURVE_FARS if is_measurable(far, num_impostors)]
    )
    return {
        "tar_at_far": plain(measurable(read(scores, pairs.issame, FARS), num_impostors)),
        "roc": {"far": list(curve), "tar": list(curve.values())},
        "num_impostors": num_impostors,
    }


def _identify(pooled: Templates, galleries: Sequence[TemplateList], probes: TemplateList) -> dict[str, Any]:
    sides = [(pooled.features[pooled.rows(each.templates)], each.subjects) for each in galleries]
    query = pooled.features[pooled.rows(probes.templates)]
    joined = ijb_1n(
        np.concatenate([features for features, _ in sides]),
        np.concatenate([subjects for _, subjects in sides]),
        query,
        probes.subjects,
        fpirs=FPIRS,
        ranks=RANKS,
    )
    standard = ijb_1n_standard(sides, query, probes.subjects, fpirs=FPIRS, ranks=RANKS)
    return {"ijb_1n": _rates(joined), "ijb_1n_standard": _rates(standard)}


def _rates(found: Ijb1NResult) -> dict[str, Any]:
    return {
        "tpir": plain(measurable(found.tpir, found.num_impostors)),
        "rank": plain(found.rank_rate),
        "num_impostors": found.num_impostors,
    }
