import numpy as np
import pytest

from btnet.evaluation import cosine
from btnet.evaluation.cosine import indexed_pair_scores
from btnet.evaluation.verification import pair_scores


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_indexed_pairs_score_as_pairs_laid_side_by_side(
    dtype: type[np.floating], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    embeddings = (3 * rng.normal(size=(40, 16))).astype(dtype)
    embeddings[7] = 0
    first, second = rng.integers(0, 40, (2, 500))
    expected = pair_scores(embeddings[first], embeddings[second])
    monkeypatch.setattr(cosine, "_PAIR_BLOCK_NUMBERS", 16 * 33)
    scores = indexed_pair_scores(embeddings, first, second)
    assert scores.dtype == (np.float64 if dtype is np.float64 else np.float32)
    np.testing.assert_allclose(scores, expected, atol=1e-12 if dtype is np.float64 else 1e-6)
    assert (scores[(first == 7) | (second == 7)] == 0).all()
    assert indexed_pair_scores(embeddings, first[:0], second[:0]).shape == (0,)


def test_bad_pairs_are_answered_with_what_is_expected() -> None:
    embeddings, rows = np.ones((4, 3), dtype=np.float32), np.arange(4)
    with pytest.raises(ValueError, match="rows 1 to 4 of 4 templates; expected integers from 0"):
        indexed_pair_scores(embeddings, rows, rows + 1)
    with pytest.raises(ValueError, match=r"rows -1 to 2 of 4 templates"):
        indexed_pair_scores(embeddings, rows - 1, rows)
    with pytest.raises(ValueError, match="float64 rows"):
        indexed_pair_scores(embeddings, rows.astype(float), rows)
    with pytest.raises(ValueError, match=r"pairs have shapes \[4\] and \[3\]"):
        indexed_pair_scores(embeddings, rows, rows[:3])
    embeddings[3, 2] = np.inf
    with pytest.raises(ValueError, match="templates: embeddings are NaN or infinite, the first in row 3"):
        indexed_pair_scores(embeddings, rows, rows)
