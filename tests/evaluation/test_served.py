from __future__ import annotations

import numpy as np
import pytest

from btnet.evaluation.served import distinct_faces, served_pairs, served_point


def faces(seed: int, noise: float, num_people: int = 60) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(num_people), 2)
    mean = np.random.default_rng(0).normal(size=(num_people, 32))[labels]
    noise_of = np.random.default_rng(seed).normal(scale=noise, size=mean.shape)
    return (mean + noise_of).astype(np.float32), labels


def test_a_clear_difference_has_a_verdict_and_none_has_none() -> None:
    gallery, labels = faces(1, 0.3)
    pairs = served_pairs(labels, len(labels))
    good, poor = faces(2, 0.5)[0], faces(3, 4.0)[0]
    better = served_point(14, "branch r14", pairs, gallery, good, poor)
    assert (better.verdict, better.difference.low > 0) == ("better", True)
    assert better.difference.mean == pytest.approx(better.accuracy - better.trunk_accuracy)
    assert served_point(14, "branch r14", pairs, gallery, poor, good).verdict == "worse"
    same = served_point(40, "trunk", pairs, gallery, poor, poor)
    assert (same.verdict, same.difference.high) == ("not shown to be better", 0.0)


def test_pairs_are_of_other_photographs_in_turns_and_without_identities_each_face_is_its_mate() -> None:
    labels = np.repeat(np.arange(30), 3)
    pairs = served_pairs(labels, len(labels))
    assert np.all((labels[pairs.gallery] == labels[pairs.probe]) == pairs.issame)
    assert np.all(pairs.gallery != pairs.probe)
    assert pairs.issame[:2].tolist() == [True, False]
    assert np.array_equal(pairs.people, np.stack([labels[pairs.gallery], labels[pairs.probe]], axis=1))
    alone = served_pairs(None, 50)
    assert np.all((alone.gallery == alone.probe) == alone.issame)
    assert (pairs.truth, alone.truth) == ("identities", "verdicts of the trunk")


def test_too_few_pairs_of_one_person_are_refused_with_their_number() -> None:
    with pytest.raises(ValueError, match="30 faces of 30 people hold 0 pairs of one person"):
        served_pairs(np.arange(30), 30)


def test_photographs_of_one_person_count_once_where_nobody_says_whose_they_are() -> None:
    embeddings, _ = faces(1, 0.1)
    kept = distinct_faces(embeddings)
    assert kept.tolist() == list(range(0, 120, 2))
