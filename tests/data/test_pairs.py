from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from btnet.data.pairs import draw_pairs


@given(
    labels=st.lists(st.integers(0, 5), min_size=12, max_size=60),
    half=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_pairs_are_balanced_true_and_all_different(labels: list[int], half: int, seed: int) -> None:
    array = np.array(labels)
    try:
        positions, issame = draw_pairs(array, 2 * half, seed=seed)
    except ValueError:
        counts = np.unique(array, return_counts=True)[1]
        num_same = int((counts * (counts - 1) // 2).sum())
        num_all = len(labels) * (len(labels) - 1) // 2
        assert half > num_same // 2 or half > (num_all - num_same) // 2
        return
    pairs = positions.reshape(-1, 2)
    assert np.array_equal(array[pairs[:, 0]] == array[pairs[:, 1]], issame)
    assert issame.sum() == half
    assert len({frozenset(pair) for pair in pairs.tolist()}) == 2 * half
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert np.array_equal(positions, draw_pairs(array, 2 * half, seed=seed)[0])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        draw_pairs(np.zeros(4, dtype=np.int64), 3)
    with pytest.raises(ValueError, match="0 of two"):
        draw_pairs(np.zeros(10, dtype=np.int64), 4)
