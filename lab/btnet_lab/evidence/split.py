"""Training people and test people: disjoint, fixed by a seed, and without the same person under two names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOO_CLOSE = 0.55
"""Cosine of two prototypes from which on they may be one person."""

_MOST_TESTED = 1000
_ROWS_AT_A_TIME = 1024


@dataclass(frozen=True)
class Split:
    """Labels of a set, each in one of three.

    Attributes:
        train: to learn from, ascending.
        test: to measure on, ascending.
        dropped: neither: too close to somebody in `test`, ascending.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    dropped: NDArray[np.int64]


def split_identities(
    prototypes: NDArray[np.float32],
    *,
    share: float,
    seed: int,
    limit: float = TOO_CLOSE,
) -> Split:
    """Draw the people to test on, and drop those to train on who look like one of them.

    Args:
        prototypes: mean embedding of each person under the trunk, of length 1, [C, D].
        share: of the people that is tested on, in (0, 1); at most 1 000 of them.
        seed: of the draw.
        limit: cosine from which on two are too close.

    Raises:
        ValueError: if nobody is left to train on, or fewer than two to test on.
    """
    count = min(_MOST_TESTED, round(share * len(prototypes)))
    if count < 2:
        raise ValueError(
            f"{len(prototypes)} people: {share:g} of them are {count} to test on, expected at least 2; give more people"
        )
    order = np.random.default_rng(seed).permutation(len(prototypes))
    test, rest = np.sort(order[:count]), np.sort(order[count:])
    others = prototypes[test].T
    nearest = [
        (prototypes[rest[start : start + _ROWS_AT_A_TIME]] @ others).max(axis=1)
        for start in range(0, len(rest), _ROWS_AT_A_TIME)
    ]
    close = np.concatenate(nearest) >= limit if len(rest) else np.zeros(0, dtype=np.bool_)
    if close.all():
        raise ValueError(
            f"{len(rest)} people to train on, and all are closer than cosine {limit:g} to one of {count} to test on: "
            "nobody is left; is this trunk trained, and are these aligned faces?"
        )
    return Split(rest[~close], test, rest[close])


def nested_part(num_identities: int, denominator: int, *, seed: int) -> NDArray[np.int64]:
    """One of so many parts of the people, ascending labels; of one seed, a smaller part lies within a larger one."""
    order = np.random.default_rng(seed).permutation(num_identities)
    return np.sort(order[: max(2, num_identities // denominator)])


def verification_pairs(
    labels: NDArray[np.int64], *, per_identity: int, largest: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs to verify, as many of one person as of two, in turns; with a limit for each person.

    Args:
        labels: identity of each image, [N].
        per_identity: largest number of matched pairs of one person.
        largest: number of pairs in all.
        seed: of the draw.

    Returns:
        Positions of the images, int64 [2 P], pair i being 2 i and 2 i + 1; and whether it is the same person,
        bool [P].

    Raises:
        ValueError: if no person has two images, or there is one person only.
    """
    generator = np.random.default_rng(seed)
    matched: list[tuple[int, int]] = []
    for label in np.unique(labels):
        # One image more than pairs: enough for them, and no square of somebody's thousands.
        images = generator.permutation(np.flatnonzero(labels == label))[: per_identity + 1]
        own = [(int(a), int(b)) for i, a in enumerate(images) for b in images[:i]]
        chosen = generator.permutation(len(own))[:per_identity]
        matched += [own[i] for i in chosen]
    if not matched or len(np.unique(labels)) < 2:
        raise ValueError(
            f"{len(labels)} images of {len(np.unique(labels))} people hold {len(matched)} pairs of one person; "
            "expected two people or more, one of them with two images"
        )
    matched = [matched[i] for i in generator.permutation(len(matched))[: largest // 2]]
    positions = []
    for first, second in matched:
        a, b = generator.integers(len(labels), size=2)
        while labels[a] == labels[b]:
            a, b = generator.integers(len(labels), size=2)
        positions += [first, second, int(a), int(b)]
    return np.array(positions, dtype=np.int64), np.arange(2 * len(matched)) % 2 == 0
