"""Who is held out. Near duplicates never are on both sides: the trunk's own cosine finds them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from btnet.backbones.backbone import Backbone
from btnet.data.faces import FaceSet
from btnet.evaluation.served import strangers
from btnet.retrofit.faces import embed_faces

__all__ = ["Split", "hold_out", "similar_groups", "similarity_threshold"]

_FEWEST_FACES, _FEWEST_PEOPLE = 120, 20
_HELD_OUT: Final = (60, 2000)  # faces: at least, at most; between them a tenth
_POOL: Final = 50_000  # faces among which those to hold out are chosen: all pairs of them are compared
_ONE_PERSON: Final = 0.3  # median cosine of two faces; strangers have about 0
_BLOCK: Final = 2048


class Split(NamedTuple):
    """Faces to learn from and to judge by.

    Attributes:
        train: rows, ascending, int64 [N].
        held_out: likewise, int64 [M].
        people: of the held-out faces, int64 [M]; their groups of similar faces where nobody says who they are.
        has_identities: whether labels are people.
        threshold: cosine from which on two faces count as similar.
    """

    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    people: NDArray[np.int64]
    has_identities: bool
    threshold: float


def hold_out(faces: FaceSet, trunk: Backbone, named: str, *, unlabelled: bool = False) -> Split:
    """Hold out a tenth of the faces, 60 at least: whole people, or groups of similar faces.

    Those with two faces or more come first, as pairs are made of them. Those with more than a quarter of the faces
    wanted stay to be learnt from.

    Args:
        faces: all.
        trunk: tells how alike they are.
        named: what they are called.
        unlabelled: labels are no people. They are not taken for people either where faces of one label are no more
            alike than others (folders of days or cameras).

    Raises:
        ValueError: for too few faces or people.
    """
    if len(faces) < _FEWEST_FACES:
        raise ValueError(
            f"{named}: {len(faces)} faces; at least {_FEWEST_FACES} are needed, half of them to judge by. A few "
            "hundred faces of anybody will do, and nobody need say whose they are"
        )
    generator = np.random.default_rng(0)
    pool = np.sort(generator.permutation(len(faces))[:_POOL])
    parts = list(embed_faces(trunk, faces, pool, "looking for similar faces"))
    embeddings, rows = (np.concatenate(column) for column in zip(*parts, strict=True))
    threshold = similarity_threshold(embeddings, named)
    labels = np.asarray(faces.labels)[rows]
    has_identities = not unlabelled and faces.num_classes > 1 and _are_people(embeddings, labels, threshold)
    groups = similar_groups(embeddings, threshold, labels if has_identities else np.arange(len(rows)))
    held = _choose(groups, generator)
    if len(np.unique(groups)) < _FEWEST_PEOPLE or len(held) < _HELD_OUT[0] // 2:
        raise ValueError(
            f"{named}: {len(rows)} faces of about {len(np.unique(groups))} people; at least {_FEWEST_PEOPLE} people "
            "are needed, some of them to judge by: give faces of more people"
        )
    train = [np.delete(rows, held)]
    beyond = np.setdiff1d(np.arange(len(faces)), pool)
    for found, kept in embed_faces(trunk, faces, beyond, "comparing") if len(beyond) else ():
        strange = (found @ embeddings[held].T).max(axis=1) <= threshold
        if has_identities:
            strange &= ~np.isin(faces.labels[kept], labels[held])
        train.append(kept[strange])
    people = (labels if has_identities else groups)[held]
    return Split(np.sort(np.concatenate(train)), rows[held], people, has_identities, threshold)


def similarity_threshold(embeddings: NDArray[np.float32], named: str) -> float:
    """The cosine from which on two faces may show one person, see `strangers`.

    Of a real trunk and 7,269 faces of 2,748 people it is 0.47; three quarters of the pairs of one person lie above.

    Raises:
        ValueError: if most faces are alike: one person, or no faces.
    """
    some = embeddings[np.random.default_rng(0).permutation(len(embeddings))[:2000]]
    median, limit = strangers((some @ some.T)[np.triu_indices(len(some), 1)])
    if median > _ONE_PERSON:
        raise ValueError(
            f"{named}: two of these images have a median cosine of {median:.2f}, strangers about 0; they seem to show "
            f"one person, or no aligned faces: give faces of {_FEWEST_PEOPLE} people at least"
        )
    return limit


def similar_groups(
    embeddings: NDArray[np.float32], threshold: float, groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Join the groups that hold similar faces.

    Args:
        embeddings: unit rows [N, D].
        threshold: cosine above which two faces are similar.
        groups: number of each face's group to begin with, [N].
    """
    joined = np.unique(groups, return_inverse=True)[1]
    for start in range(0, len(embeddings), _BLOCK):
        rows, columns = np.nonzero(embeddings[start : start + _BLOCK] @ embeddings.T > threshold)
        pairs = np.unique(np.stack([joined[rows + start], joined[columns]]), axis=1)
        size = int(joined.max()) + 1
        graph = coo_matrix((np.ones(pairs.shape[1], np.int8), pairs), shape=(size, size))
        joined = connected_components(graph, directed=False)[1][joined]
    return np.asarray(joined, np.int64)


def _are_people(embeddings: NDArray[np.float32], labels: NDArray[np.int64], threshold: float) -> bool:
    """Whether faces of one label are alike, by 2 deviations in the median."""
    order = np.argsort(labels, kind="stable")
    first, second = order[:-1], order[1:]
    cosines = (embeddings[first] * embeddings[second]).sum(axis=1)[labels[first] == labels[second]]
    return len(cosines) > 0 and float(np.median(cosines)) > 0.4 * threshold


def _choose(groups: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Positions of the faces to hold out, ascending."""
    least, most = _HELD_OUT
    wanted = min(max(len(groups) // 10, least), most, len(groups) // 2)
    sizes = np.bincount(groups)
    drawn = generator.permutation(len(sizes))
    drawn = drawn[sizes[drawn] <= max(wanted // 4, 2)]
    drawn = drawn[np.argsort(sizes[drawn] == 1, kind="stable")]
    enough = int(np.searchsorted(np.cumsum(sizes[drawn]), wanted)) + 1
    return np.flatnonzero(np.isin(groups, drawn[:enough]))
