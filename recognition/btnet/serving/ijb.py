"""IJB's templates: images aligned and embedded at several resolutions, pooled, and scored 1:1 and 1:N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import indexed_pair_scores
from btnet.evaluation.identification import Ijb1NResult, ijb_1n, ijb_1n_standard
from btnet.evaluation.rates import is_measurable, measurable, tar_at_fars, tar_at_nearest_fars
from btnet.evaluation.templates import TemplateOptions, Templates, pool_templates
from btnet.images.resize import resize
from btnet.public_sets.ijb import IJB, TemplateList, TemplatePairs
from btnet.serving.alignment import align_face, wrong_order
from btnet.serving.embedding import network_fingerprint
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_file import FeatureFile
from btnet.serving.feature_pass import FeatureTask, fill_features
from btnet.serving.results import plain

__all__ = ["ALIGNMENTS", "FARS", "FPIRS", "RANKS", "Seen", "embed_ijb", "score_templates"]

ALIGNMENTS: Final = ("canonical", "direct")
FARS: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS: Final = (0.01, 0.1)
RANKS: Final = (1, 5, 10)
_CURVE_FARS: Final = tuple(float(far) for far in np.logspace(-6, -0.01, 120))

_ROWS_CHECKED: Final = 1000

Pair = tuple[int, int]


class Seen(NamedTuple):
    """At which resolution a network saw the images, and whether mirrored."""

    resolution: int
    mirrored: bool


def embed_ijb(
    model: FaceModel,
    ijb: IJB,
    views: Iterable[Seen],
    cache: Path,
    *,
    alignment: str,
    interpolation: str,
    batch_size: int = 32,
    num_workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[dict[Seen, FeatureFile], dict[int, str]]:
    """Embed all images in all views, one pass.

    Args:
        model: whose networks embed.
        ijb: images and landmarks.
        views: wanted.
        cache: folder for the features; what lies there already is not embedded again.
        alignment: "canonical": aligned at the canonical size, then shrunk, as branches are trained and the
            authors evaluate; "direct": aligned at the resolution itself, as serving does.
        interpolation: one of `btnet.data.INTERPOLATIONS`. The canonical crop is bilinear always, as
            insightface's is.
        batch_size: images per forward pass.
        num_workers: threads that read and align images.
        progress: called with the number of images done.

    Returns:
        Features by view, on disk; and position -> reason of the images that could not be read or aligned.

    Raises:
        ValueError: if the model has no network for a resolution, or most landmarks are in another order.
    """
    _check_order(ijb)
    size = model.canonical_size
    files, tasks = {}, []
    everything = np.arange(len(ijb.images))
    for seen in views:
        network = model.network_for(seen.resolution)
        key = {
            "network": network_fingerprint(network),
            "data": ijb.checksum,
            "views": {
                "aligned": alignment,
                "canonical_size": size,
                "resolution": seen.resolution,
                "mirrored": seen.mirrored,
                "interpolation": interpolation,
            },
        }
        files[seen] = FeatureFile.open(cache, key, len(ijb.images), model.embedding_size)
        tasks.append(FeatureTask(files[seen], network, *seen, everything))

    def view(row: int, image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
        if alignment == "direct" and resolution != size:
            return align_face(image, ijb.landmarks[row], resolution, interpolation, check_order=False)
        face = align_face(image, ijb.landmarks[row], size, check_order=False)
        return resize(face, resolution, interpolation)

    unreadable = fill_features(
        tasks,
        ijb.images,
        view,
        interpolation=interpolation,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    return files, unreadable


def _check_order(ijb: IJB) -> None:
    """The order is the list's: one detector's failures among half a million faces are aligned as they are."""
    rows = np.unique(np.linspace(0, len(ijb.landmarks) - 1, _ROWS_CHECKED).astype(np.int64))
    order, count = Counter(wrong_order(ijb.landmarks[row]) for row in rows).most_common(1)[0]
    if order and 2 * count > len(rows):
        raise ValueError(
            f"{ijb.meta / f'{ijb.prefix}_name_5pts_score.txt'}: landmarks look like {order} ({count} of {len(rows)} "
            "faces); expected x y of the left eye in the image, the right eye, nose tip, left and right corner of the "
            "mouth"
        )


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
