from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from btnet_lab.evidence.faces import identities_of_pairs
from btnet_lab.evidence.split import nested_part, split_identities, verification_pairs


def unit(num: int, seed: int, size: int = 6) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(num, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@given(num=st.integers(20, 60), seed=st.integers(0, 99), share=st.floats(0.1, 0.5))
def test_everybody_is_in_one_part_and_nobody_to_train_on_is_close_to_one_to_test_on(
    num: int, seed: int, share: float
) -> None:
    prototypes = unit(num, seed)
    limit = 0.9
    split = split_identities(prototypes, share=share, seed=seed, limit=limit)
    assert sorted([*split.train, *split.test, *split.dropped]) == list(range(num))
    cosine = prototypes @ prototypes[split.test].T
    assert (cosine[split.train] < limit).all()
    assert (cosine[split.dropped].max(axis=1) >= limit).all() if len(split.dropped) else True
    again = split_identities(prototypes, share=share, seed=seed, limit=limit)
    assert np.array_equal(split.test, again.test)


def test_a_trunk_that_tells_nobody_apart_is_named() -> None:
    with pytest.raises(ValueError, match="is this trunk trained"):
        split_identities(np.ones((10, 1), np.float32), share=0.2, seed=0)


def test_smaller_parts_lie_in_larger_ones() -> None:
    parts = [set(nested_part(80, n, seed=5).tolist()) for n in (8, 4, 2)]
    assert [len(part) for part in parts] == [10, 20, 40]
    assert parts[0] < parts[1] < parts[2]


@given(seed=st.integers(0, 99))
def test_pairs_are_what_they_say_and_nobody_has_more_than_his_share(seed: int) -> None:
    labels = np.repeat(np.arange(6), [1, 2, 3, 4, 30, 1])
    positions, issame = verification_pairs(labels, per_identity=4, largest=1000, seed=seed)
    pairs = labels[positions].reshape(-1, 2)
    assert np.array_equal(pairs[:, 0] == pairs[:, 1], issame)
    assert np.bincount(pairs[issame, 0]).tolist() == [0, 1, 3, 4, 4]
    matched = positions.reshape(-1, 2)[issame]
    assert len({tuple(sorted(pair)) for pair in matched.tolist()}) == len(matched)


def test_faces_of_one_folder_are_one_identity() -> None:
    names = ["a/ANN/1.jpg", "a/BOB/1.jpg", "a/BOB/2.jpg", "a/BOB/3.jpg"]
    found = identities_of_pairs(names)
    assert found[1, 0] == found[1, 1] == found[0, 1] != found[0, 0]
