import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.evaluation.rates import is_measurable, measurable, tar_at_nearest_fars, too_few
from btnet.evaluation.verification import (
    fold_accuracies,
    kfold_accuracy,
    kfold_correct,
    pair_scores,
    roc_auc,
    roc_curve,
    tar_at_far,
    tar_at_fars,
    val_at_far,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "assets" / "metrics.json").read_text())["verification"]
PAIRS, DIM = GOLDEN["pairs"], GOLDEN["dim"]

Array = npt.NDArray[Any]


def unit(count: int, size: int, seed: int) -> Array:
    rows = np.random.RandomState(seed).standard_normal((count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def golden_pairs(count: int = PAIRS, size: int = DIM, seed: int = 3) -> tuple[Array, Array, Array]:
    k = np.arange(count)
    same = (k * k + seed) % 3 != 0
    first, noise = unit(count, size, seed + 2), unit(count, size, seed + 3)
    second = np.where(same[:, None], first + 1.5 * noise, noise)
    return first, second / np.linalg.norm(second, axis=1, keepdims=True), same


def slow_kfold(first: Array, second: Array, same: Array, num_folds: int) -> tuple[float, float]:
    distances = ((first - second) ** 2).sum(1)
    accuracies = []
    for test in np.array_split(np.arange(len(same)), num_folds):
        train = np.setdiff1d(np.arange(len(same)), test)
        best, chosen = -1.0, 0.0
        for threshold in np.arange(0, 4, 0.01):
            accuracy = float(np.mean((distances[train] < threshold) == same[train]))
            if accuracy > best:
                best, chosen = accuracy, threshold
        accuracies.append(np.mean((distances[test] < chosen) == same[test]))
    return float(np.mean(accuracies)), float(np.std(accuracies))


def test_kfold_accuracy_equals_the_golden_of_arcface_torch() -> None:
    mean, std = kfold_accuracy(*golden_pairs())
    assert mean == pytest.approx(GOLDEN["accuracy_mean"], abs=1e-12)
    assert std == pytest.approx(GOLDEN["accuracy_std"], abs=1e-12)


def test_val_at_far_equals_the_golden_of_arcface_torch() -> None:
    val, _, far = val_at_far(*golden_pairs(), far=1e-3)
    assert val == pytest.approx(GOLDEN["val_at_far_1e-3"], abs=1e-12)
    assert far == pytest.approx(GOLDEN["far"], abs=1e-12)


@pytest.mark.parametrize(("count", "num_folds"), [(157, 10), (23, 10), (10, 10), (60, 3)])
def test_kfold_accuracy_equals_the_protocol_written_out(count: int, num_folds: int) -> None:
    pairs = golden_pairs(count, size=6)
    expected = slow_kfold(*pairs, num_folds)
    assert kfold_accuracy(*pairs, num_folds=num_folds) == pytest.approx(expected, abs=1e-12)


def drawn_pairs(seed: int, num_folds: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    count = 2 * num_folds + int(rng.integers(0, 20))
    same = np.arange(count) % 2 == 0  # both kinds in every fold
    first, noise = unit(count, 3, seed), unit(count, 3, seed + 1)
    second = np.where(same[:, None], first + noise, noise)
    return first, second / np.linalg.norm(second, axis=1, keepdims=True), same


@given(st.integers(0, 100_000), st.sampled_from([2, 3, 10]))
@settings(max_examples=25)
def test_kfold_accuracy_equals_the_protocol_on_any_pairs(seed: int, num_folds: int) -> None:
    pairs = drawn_pairs(seed, num_folds)
    assert kfold_accuracy(*pairs, num_folds=num_folds) == pytest.approx(
        slow_kfold(*pairs, num_folds), abs=1e-12
    )


def slow_val(
    first: Array, second: Array, same: Array, far: float, num_folds: int
) -> tuple[float, float, float]:
    distances = ((first - second) ** 2).sum(1)
    accepted, wrong = [], []
    for test in np.array_split(np.arange(len(same)), num_folds):
        train = np.setdiff1d(np.arange(len(same)), test)
        impostors = distances[train][~same[train]]
        # The largest threshold of each rate: later ones take the place of earlier ones.
        highest = {float(np.mean(impostors < threshold)): threshold for threshold in np.arange(0, 4, 0.001)}
        threshold = 0.0
        if max(highest) >= far:
            below = max(rate for rate in highest if rate <= far)
            above = min(rate for rate in highest if rate >= far)
            share = (far - below) / (above - below) if above > below else 0.0
            threshold = highest[below] + share * (highest[above] - highest[below])
        accepted.append(np.mean(distances[test][same[test]] < threshold))
        wrong.append(np.mean(distances[test][~same[test]] < threshold))
    return float(np.mean(accepted)), float(np.std(accepted)), float(np.mean(wrong))


@given(st.integers(0, 100_000), st.sampled_from([2, 4]), st.sampled_from([0.01, 0.2, 0.5, 0.97]))
@settings(max_examples=15)
def test_val_at_far_equals_the_protocol_on_any_pairs(seed: int, num_folds: int, far: float) -> None:
    pairs = drawn_pairs(seed, num_folds)
    found = val_at_far(*pairs, far=far, num_folds=num_folds)
    assert found == pytest.approx(slow_val(*pairs, far, num_folds), abs=1e-12)


@given(st.floats(1e-3, 1e3), st.integers(0, 100))
@settings(max_examples=20)
def test_length_of_embeddings_does_not_matter(scale: float, seed: int) -> None:
    first, second, same = golden_pairs(80, 8, 3 * seed)
    lengths = np.random.default_rng(seed).uniform(0.5, 2, (80, 1))
    scaled = kfold_accuracy(scale * first, lengths * second, same)
    assert scaled == pytest.approx(kfold_accuracy(first, second, same), abs=1e-12)


def test_perfect_separation_is_one_everywhere() -> None:
    first = np.eye(40)
    same = np.arange(40) % 2 == 0
    second = np.where(same[:, None], first, np.roll(first, 1, axis=0))
    assert kfold_accuracy(first, second, same) == (1.0, 0.0)
    assert val_at_far(first, second, same, far=1e-3)[0] == 1.0
    assert tar_at_far(pair_scores(first, second), same, 1e-3) == 1.0
    far, tar, _ = roc_curve(pair_scores(first, second), same)
    assert tar[far == 0].max() == 1.0


@given(st.integers(0, 10_000), st.floats(0.001, 0.999), st.integers(1, 12))
@settings(max_examples=100)
def test_tar_at_far_is_the_best_any_threshold_reaches(seed: int, far: float, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 40) / levels  # many ties
    same = np.arange(40) % 3 == 0
    thresholds = [-1.0, *np.unique(scores)]
    allowed = [t for t in thresholds if np.mean(scores[~same] > t) <= far + 1e-12]
    assert tar_at_far(scores, same, far) == max(np.mean(scores[same] > t) for t in allowed)


def test_tar_at_far_counts_impostors_exactly() -> None:
    scores = np.concatenate([np.arange(100) / 100, [0.705, 0.715, 0.995]])
    same = np.arange(103) >= 100
    assert tar_at_far(scores, same, 0.29) == 1  # 29 accepted, not 28, although 0.29 * 100 < 29 in binary
    assert tar_at_far(scores, same, 0.28) == 2 / 3
    assert tar_at_far(scores, same, 0.009) == 1 / 3  # less than one impostor: none


def test_several_rates_at_once_are_each_rate_alone() -> None:
    rng = np.random.default_rng(0)
    scores, same = np.round(rng.normal(size=3000), 2), rng.random(3000) < 0.2
    fars = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 0.999)
    assert tar_at_fars(scores, same, fars) == {far: tar_at_far(scores, same, far) for far in fars}
    rising = list(tar_at_fars(scores, same, fars).values())
    assert rising == sorted(rising)
    assert rising[0] == np.mean(scores[same] > scores[~same].max())  # fewer than 1 / FAR impostors


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=60)
def test_roc_auc_is_the_share_of_wins_and_the_area_under_the_curve(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, 30) / levels  # many ties
    same = np.arange(30) % 3 == 0
    wins = [(s > i) + (s == i) / 2 for s in scores[same] for i in scores[~same]]
    assert roc_auc(scores, same) == pytest.approx(np.mean(wins), abs=1e-12)
    far, tar, _ = roc_curve(scores, same)
    assert roc_auc(scores, same) == pytest.approx(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2), abs=1e-12)


def test_roc_curve_passes_through_every_threshold() -> None:
    rng = np.random.default_rng(0)
    scores, same = np.round(rng.normal(size=200), 1), rng.random(200) < 0.4
    far, tar, thresholds = roc_curve(scores, same)
    assert (far[0], tar[0], thresholds[0]) == (0, 0, np.inf)
    assert (far[-1], tar[-1]) == (1, 1)
    for f, t, threshold in zip(far, tar, thresholds, strict=True):
        assert f == np.mean(scores[~same] >= threshold)
        assert t == np.mean(scores[same] >= threshold)
    for target in (0.01, 0.1, 0.5):
        assert tar_at_far(scores, same, target) == tar[far <= target].max()


def test_scores_of_pairs_are_cosines() -> None:
    first, second = unit(5, 4, 0) * 7, unit(5, 4, 1) * 3
    np.testing.assert_allclose(pair_scores(first, second), (unit(5, 4, 0) * unit(5, 4, 1)).sum(1), atol=1e-12)


def test_a_fold_of_one_kind_is_left_out_of_the_other_kind_of_mean() -> None:
    first, second, _ = golden_pairs(40, 8)
    same = np.arange(40) < 18
    val, std, far = val_at_far(first, second, same, far=0.1, num_folds=4)
    assert np.isfinite([val, std, far]).all()


def test_a_far_that_is_never_reached_accepts_nobody() -> None:
    # All impostors are opposite: at distance 4 no threshold of the grid accepts them.
    first = unit(40, 16, 0)
    same = np.arange(40) % 2 == 0
    assert val_at_far(first, np.where(same[:, None], first, -first), same)[2] == 0.0


@given(st.integers(0, 100_000))
@settings(max_examples=60)
def test_the_nearest_far_is_read_off_as_insightface_does(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=int(rng.integers(4, 60))), int(rng.integers(0, 3)))
    same = rng.random(len(scores)) < 0.5
    same[:2] = True, False
    fars = (1e-3, 0.01, 0.05, 0.1, 0.3, 0.7)
    far, tar, _ = metrics.roc_curve(same, scores)
    far, tar = far[::-1], tar[::-1]
    expected = {x: tar[min(zip(np.abs(far - x), range(len(far)), strict=True))[1]] for x in fars}
    assert tar_at_nearest_fars(scores, same, fars) == pytest.approx(expected)


def test_the_nearest_far_may_lie_above_the_target() -> None:
    # Of ten impostors one is above all matched pairs: 0.06 is nearer to 1 in 10 than to none.
    scores = np.array([0.5, 0.6, 0.9, *np.linspace(-1, 0, 9)])
    same = np.arange(12) < 2
    assert tar_at_nearest_fars(scores, same, (0.06, 0.04)) == {0.06: 1.0, 0.04: 0.0}
    assert tar_at_far(scores, same, 0.06) == 0.0
    with pytest.raises(ValueError, match=r"FAR 0 is no rate"):
        tar_at_nearest_fars(scores, same, (0,))


def test_a_rate_is_measurable_from_one_impostor_on() -> None:
    assert measurable({0.1: 0.9, 0.01: 0.8, 0.001: 0.7}, 100) == {0.1: 0.9, 0.01: 0.8, 0.001: None}
    for num_impostors in (7, 10, 29, 100, 3000):
        assert is_measurable(1 / num_impostors, num_impostors)
        assert not is_measurable(0.99 / num_impostors, num_impostors)
    assert not is_measurable(0.5, 0)
    assert too_few((0.1, 0.01), 100) == ""
    assert (
        too_few((0.1, 0.01), 9, "FPIR")
        == "-: 9 impostors cannot measure FPIR 0.1, 0.01; that takes 1 / FPIR of them."
    )


def test_bad_input_is_answered_with_what_is_expected() -> None:
    first, second, same = golden_pairs(20, 8)
    broken = first.copy()
    broken[3, 1] = np.nan
    with pytest.raises(
        ValueError,
        match=r"first of each pair: embeddings are NaN or infinite, the first in row 3 \(1 of the 20",
    ):
        kfold_accuracy(broken, second, same)
    with pytest.raises(ValueError, match="all 20 pairs are matched pairs"):
        kfold_accuracy(first, second, np.ones(20, dtype=bool))
    with pytest.raises(ValueError, match="all 20 pairs are impostor pairs"):
        tar_at_far(np.zeros(20), np.zeros(20), 0.1)
    with pytest.raises(ValueError, match="20 pairs cannot be judged in 21 folds"):
        kfold_accuracy(first, second, same, num_folds=21)
    with pytest.raises(ValueError, match=r"issame has shape \[19\], expected \[20\]"):
        kfold_accuracy(first, second, same[:19])
    with pytest.raises(ValueError, match=r"shapes \[20, 8\] and \[20, 7\]"):
        pair_scores(first, second[:, :7])
    with pytest.raises(ValueError, match=r"FAR 1\.5 is no rate"):
        tar_at_far(np.zeros(20), same, 1.5)
    with pytest.raises(ValueError, match="1 NaN"):
        roc_curve(np.array([0.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="all impostor pairs lie in fold 3"):
        val_at_far(first, second, np.arange(20) < 16, num_folds=4)


def test_the_folds_accuracies_are_those_whose_mean_is_the_accuracy() -> None:
    first, second = unit(53, 4, 1), unit(53, 4, 2)
    issame = np.arange(53) % 2 == 0
    second[issame] += first[issame]
    folds = fold_accuracies(kfold_correct(pair_scores(first, second), issame))
    assert (float(folds.mean()), float(folds.std())) == pytest.approx(kfold_accuracy(first, second, issame))
    assert folds.shape == (10,)
