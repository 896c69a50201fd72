from __future__ import annotations

import numpy as np
import pytest

from btnet.calibration.thresholds import Impostors, View, false_positive_rates, measure_thresholds
from btnet.evaluation.cosine import unit_rows
from calibration_kept import predicted


def view_of(size: int, num_people: int, each: int, seed: int) -> View:
    """Faces of people who resemble one another to different degrees: some are taken for many others."""
    generator = np.random.default_rng(seed)
    people = np.repeat(np.arange(num_people), each)
    mean = generator.normal(size=(num_people, 16)) + generator.exponential(size=(num_people, 1))
    noise = np.random.default_rng([seed, size]).normal(scale=8 / size, size=(len(people), 16))
    return View(size, (mean[people] + noise).astype(np.float32), people, np.arange(len(people)))


def test_thresholds_are_those_of_a_direct_count() -> None:
    small, large = view_of(14, 40, 2, seed=0), view_of(112, 40, 2, seed=0)
    for first, second in ((small, large), (large, large)):
        scores = unit_rows(first.embeddings, "") @ unit_rows(second.embeddings, "").T
        pairs = [
            (scores[i, j], first.people[i] == second.people[j])
            for i in range(80)
            for j in range(80)
            if (j > i if first is second else j != i)
        ]
        impostors = np.array([score for score, same in pairs if not same])
        matched = np.array([score for score, same in pairs if same])
        for found in measure_thresholds(first, second, (1e-1, 1e-2)):
            assert found.threshold is not None
            assert found.num_impostor_pairs == len(impostors)
            assert np.count_nonzero(impostors > found.threshold) == int(found.fmr * len(impostors) + 1e-9)
            assert found.tar == pytest.approx(np.mean(matched > found.threshold))
            assert found.num_matched_pairs == len(matched)
            assert found.interval is not None
            assert found.interval[0] < found.threshold < found.interval[1]


def test_people_counted_several_times_give_the_rates_of_their_copies() -> None:
    faces = view_of(28, 12, 2, seed=1)
    times = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12))
    scores = unit_rows(faces.embeddings, "") @ unit_rows(faces.embeddings, "").T
    copies = np.concatenate([np.tile(np.flatnonzero(faces.people == p), n) for p, n in enumerate(times)])
    different = np.triu(faces.people[copies][:, None] != faces.people[copies])
    impostors = scores[np.ix_(copies, copies)][different]
    tail = Impostors(faces, faces, 0.3)
    threshold = float(tail.thresholds([0.2], times)[0])
    assert np.mean(impostors > threshold) <= 0.2 < np.mean(impostors >= threshold)
    assert tail.rate(threshold, times) == pytest.approx(np.mean(impostors > threshold))


def test_a_stricter_rate_has_a_higher_threshold_and_one_without_enough_pairs_none() -> None:
    faces = view_of(28, 60, 2, seed=2)
    found = measure_thresholds(faces, faces, (1e-1, 1e-2, 1e-3))
    assert [each.threshold is None for each in found] == [False, False, True]
    assert found[0].threshold < found[1].threshold  # type: ignore[operator]
    assert found[2].interval is None
    assert found[2].num_impostor_pairs == 7080


def test_false_matches_of_new_people_lie_in_the_predictive_interval() -> None:
    fmr, inside, draws = 1e-2, 0, 40
    for seed in range(draws):
        measured = Impostors(view_of(14, 80, 2, seed), view_of(112, 80, 2, seed), fmr)
        new = Impostors(view_of(14, 60, 2, seed + 1000), view_of(112, 60, 2, seed + 1000), 0.2)
        low, high = predicted(measured, fmr, 60, num_draws=200)
        inside += low <= new.rate(float(measured.thresholds([fmr])[0])) <= high
    assert inside >= 0.95 * draws


def test_searches_in_drawn_galleries_find_as_many_strangers_as_is_said() -> None:
    gallery, probes = view_of(112, 30, 1, seed=3), view_of(14, 30, 2, seed=3)
    found = false_positive_rates(gallery, probes, 0.6, (1, 5, 29, 30))
    scores = unit_rows(probes.embeddings, "") @ unit_rows(gallery.embeddings, "").T
    generator = np.random.default_rng(0)
    hits = []
    for _ in range(4000):
        probe = generator.integers(60)
        others = np.flatnonzero(gallery.people != probes.people[probe])
        hits.append(scores[probe, generator.choice(others, 5, replace=False)].max() > 0.6)
    assert list(found) == [1, 5, 29]
    assert found[5] == pytest.approx(np.mean(hits), abs=0.03)
    assert found[1] < found[5] < found[29]
