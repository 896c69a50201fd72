"""From images to templates (IJB) and to people (SurvFace): weighted means by one sparse matrix product.

The IJB protocol as insightface runs it: mean over the images of a medium (the frames of one video) within a
template, sum over the media, L2-normalise. Features may be a memory map: they are read a block at a time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import scipy.sparse

from btnet.evaluation.cosine import Array, finite_rows, unit_rows

__all__ = ["PRESETS", "TemplateOptions", "Templates", "identity_means", "pool_templates"]

_BLOCK_ROWS = 1 << 15


@dataclass(frozen=True)
class TemplateOptions:
    """How images count within a template; insightface's names are N, D and F.

    Attributes:
        norm_score: N1: an image counts by the length of its feature; N0: features are L2-normalised first.
        detector_score: D1: an image counts by its detector score.
        flip: F1: the feature of an image is the sum of its own and of its mirror image's.
    """

    norm_score: bool
    detector_score: bool
    flip: bool

    @property
    def label(self) -> str:
        """As insightface names it: "N0D1F1"."""
        return f"N{self.norm_score:d}D{self.detector_score:d}F{self.flip:d}"


PRESETS: Final[Mapping[str, TemplateOptions]] = MappingProxyType(
    {
        "authors": TemplateOptions(norm_score=False, detector_score=True, flip=True),
        "insightface": TemplateOptions(norm_score=True, detector_score=True, flip=True),
    }
)


@dataclass(frozen=True, eq=False)
class Templates:
    """Pooled features.

    Attributes:
        features: float32 [T, D] of unit length, in the order of `ids`.
        ids: template ids, rising, [T].
    """

    features: Array
    ids: Array

    def rows(self, template_ids: Array) -> Array:
        """Rows of these templates, int64 [N]: of pairs, of a gallery, of probes.

        Raises:
            ValueError: if there is no such template.
        """
        wanted = np.asarray(template_ids)
        rows = np.searchsorted(self.ids, wanted)
        known = self.ids[np.minimum(rows, len(self.ids) - 1)] == wanted
        if not known.all():
            raise ValueError(
                f"{np.count_nonzero(~known)} of {known.size} template ids have no image, the first is "
                f"{wanted[~known][0]!s}; expected ids of the image list: check that both are of one data set"
            )
        return rows


def pool_templates(
    features: Array,
    template_ids: Array,
    media_ids: Array,
    *,
    norm_score: bool,
    detector_scores: Array | None = None,
    mirrored: Array | None = None,
    there: Array | None = None,
) -> Templates:
    """Pool image features into templates.

    Args:
        features: of the images, un-normalised as networks return them, [N, D]; any dtype, or a memory map.
        template_ids: of each image, [N].
        media_ids: of each image, [N]; a medium counts within its template.
        norm_score: let an image count by the length of its feature (N1), or normalise features first (N0).
        detector_scores: let an image count by these, [N] (D1); None: all alike (D0).
        mirrored: features of the mirror images to add, [N, D]; None where there are none (F0), or where
            `features` are sums already.
        there: which images count at all, bool [N]: the others (unreadable ones) are in no mean; None: all.

    Returns:
        One unit feature per template. Beside the inputs, a block of features and float64 [T, D] are held.

    Raises:
        ValueError: if there is no image, lengths disagree, a feature or a score is not finite, or a template has no
            image that counts.
    """
    for name, values, shape in (
        ("there", there, (len(features),)),
        ("template_ids", template_ids, (len(features),)),
        ("media_ids", media_ids, (len(features),)),
        ("detector_scores", detector_scores, (len(features),)),
        ("mirrored", mirrored, np.shape(features)),
    ):
        if values is not None and np.shape(values) != shape:
            raise ValueError(
                f"{name} have shape {list(np.shape(values))}, expected {list(shape)} for features of shape "
                f"{list(np.shape(features))}"
            )
    ids, template = np.unique(template_ids, return_inverse=True)
    media, medium = np.unique(media_ids, return_inverse=True)
    _, group = np.unique(template * len(media) + medium, return_inverse=True)
    counted = np.ones(len(group)) if there is None else np.asarray(there, dtype=np.float64)
    empty = ids[np.bincount(template, counted) == 0]
    if len(empty):
        raise ValueError(
            f"{len(empty)} templates have no readable image at all, the first is template {empty[0]}; they cannot be "
            "scored: copy their images again"
        )
    weights = counted / np.maximum(np.bincount(group, counted), 1)[group]
    if detector_scores is not None:
        weights = weights * np.asarray(detector_scores, dtype=np.float64)
        if not np.isfinite(weights).all():
            raise ValueError("detector_scores hold NaN or infinite values; expected a finite score per image")

    def block(rows: slice) -> Array:
        total = features[rows] if mirrored is None else np.add(features[rows], mirrored[rows])
        if norm_score:
            return finite_rows(total, "images", first_row=rows.start)
        return unit_rows(total, "images", first_row=rows.start)

    pooled = _weighted_sums(block, np.shape(features), template, weights, len(ids))
    return Templates(unit_rows(pooled, "templates").astype(np.float32), ids)


def identity_means(embeddings: Array, ids: Array) -> tuple[Array, Array]:
    """Mean of the un-normalised embeddings of each person: SurvFace's gallery of prototypes.

    Args:
        embeddings: [N, D]; any dtype, or a memory map.
        ids: whose, [N]: integers or strings.

    Returns:
        Means float32 [I, D], and their ids, rising, [I].

    Raises:
        ValueError: if there is no embedding, lengths disagree, or an embedding is not finite.
    """
    if np.shape(ids) != (len(embeddings),):
        raise ValueError(
            f"ids have shape {list(np.shape(ids))} for {len(embeddings)} embeddings; expected one each"
        )
    people, person, counts = np.unique(ids, return_inverse=True, return_counts=True)

    def block(rows: slice) -> Array:
        return finite_rows(embeddings[rows], "embeddings", first_row=rows.start)

    sums = _weighted_sums(block, np.shape(embeddings), person, 1.0 / counts[person], len(people))
    return sums.astype(np.float32), people


def _weighted_sums(
    block: Callable[[slice], Array], shape: tuple[int, ...], group: Array, weights: Array, num_groups: int
) -> Array:
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"features have shape {list(shape)}, expected [N, D] of at least one image")
    num_rows, size = shape
    sums = np.zeros((num_groups, size))
    for start in range(0, num_rows, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, num_rows))
        # Only the groups of this block: image lists are mostly in template order.
        present, local = np.unique(group[rows], return_inverse=True)
        pooling = scipy.sparse.csr_matrix(
            (weights[rows], (local, np.arange(len(local)))), shape=(len(present), len(local))
        )
        sums[present] += pooling @ block(rows)
    return sums
