from __future__ import annotations

import numpy as np
import pytest

from btnet.evaluation.bootstrap import paired_bootstrap
from btnet.evaluation.verification import kfold_accuracy, kfold_correct, pair_scores


def test_a_bootstrap_of_single_pairs_has_the_spread_of_a_mean() -> None:
    # Every matched pair is of somebody else and impostors never differ: what is drawn are the matched pairs.
    generator = np.random.default_rng(1)
    num = 400
    issame = np.arange(2 * num) % 2 == 0
    matched = np.repeat(np.arange(num), 2).reshape(num, 2)
    identities = np.empty((2 * num, 2), dtype=np.int64)
    identities[issame], identities[~issame] = (
        matched,
        np.stack([matched[:, 0], np.roll(matched[:, 0], 1)], axis=1),
    )
    first = np.zeros(2 * num)
    first[issame] = generator.random(num) < 0.3
    found = paired_bootstrap(first, np.zeros(2 * num), issame, identities, num_draws=4000)
    share = first[issame].mean()
    assert found.mean == pytest.approx(share / 2)
    error = np.sqrt(share * (1 - share) / num) / 2  # of a binomial mean; matched pairs are half of all
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.share_not_above == 0.0


def test_pairs_of_one_person_count_as_one_observation() -> None:
    # Ten people whose ten pairs stand or fall together vary as much as ten pairs, not as a hundred.
    people = np.repeat(np.arange(10), 10)
    strangers = np.stack([np.arange(10), np.roll(np.arange(10), 1)], axis=1)
    identities = np.concatenate([np.stack([people, people], axis=1), strangers])
    issame = np.arange(len(identities)) < len(people)
    better = np.concatenate([np.repeat(np.arange(10) % 2, 10), np.zeros(10)])
    together = paired_bootstrap(better, np.zeros(len(better)), issame, identities)
    alone = np.stack([np.arange(100), np.arange(100)], axis=1)
    apart = paired_bootstrap(better, np.zeros(len(better)), issame, np.concatenate([alone, strangers + 100]))
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_swapping_the_models_turns_the_difference_round() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.random((2, 200)) < 0.8
    issame, identities = np.arange(200) % 2 == 0, generator.integers(30, size=(200, 2))
    there = paired_bootstrap(first, second, issame, identities, seed=3)
    back = paired_bootstrap(second, first, issame, identities, seed=3)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))


def test_pairs_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="needs matched and impostor pairs"):
        paired_bootstrap(np.ones(4), np.ones(4), np.ones(4), np.zeros((4, 2)))


def test_what_is_judged_rightly_averages_to_the_accuracy() -> None:
    generator = np.random.default_rng(4)
    left = generator.normal(size=(203, 8))
    issame = generator.random(203) < 0.5
    right = np.where(
        issame[:, None], left + generator.normal(size=left.shape), generator.normal(size=left.shape)
    )
    correct = kfold_correct(pair_scores(left, right), issame)
    folds = [fold.mean() for fold in np.array_split(correct, 10)]
    assert (np.mean(folds), np.std(folds)) == pytest.approx(kfold_accuracy(left, right, issame))
