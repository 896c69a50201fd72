import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.evaluation import cosine
from btnet.evaluation.identification import (
    closed_set,
    ijb_1n,
    ijb_1n_standard,
    open_set,
    open_set_survface,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "assets" / "metrics.json").read_text())
SEED = 3

Array = npt.NDArray[Any]
OpenSet = tuple[Array, Array, Array, Array, Array]


def unit(count: int, size: int, seed: int) -> Array:
    rows = np.random.RandomState(seed).standard_normal((count, size))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def signs(rng: np.random.Generator, count: int, size: int = 4) -> Array:
    """Corners of a cube of 4 (or 16) dimensions: exact cosines, and many ties."""
    return rng.choice([-1.0, 1.0], (count, size))


def golden_open_set() -> OpenSet:
    golden = GOLDEN["survface"]
    size = golden["dim"]
    gallery = unit(golden["G"], size, SEED + 4)
    ids = (np.arange(golden["K"]) * 13 + SEED) % golden["G"]
    mated = gallery[ids] + 1.2 * unit(golden["K"], size, SEED + 5)
    unmated = unit(golden["U"], size, SEED + 6)
    unmated += 0.4 * gallery[(np.arange(golden["U"]) * 7) % golden["G"]]
    return gallery, np.arange(golden["G"]), mated, ids, unmated


def golden_ijb() -> tuple[Array, Array, Array, Array]:
    gallery = unit(35, GOLDEN["ijbc_1n"]["dim"], SEED + 8)
    ids = (np.arange(90) * 11 + SEED) % 35
    return gallery, np.arange(35), 1.2 * gallery[ids] + unit(90, gallery.shape[1], SEED + 7), ids


def drawn_open_set(seed: int) -> OpenSet:
    rng = np.random.default_rng(seed)
    num_people = int(rng.integers(2, 9))
    ids = rng.permutation(100)[:num_people]
    mated_ids = rng.choice(ids, int(rng.integers(1, 15)))
    return (
        signs(rng, num_people),
        ids,
        signs(rng, len(mated_ids)),
        mated_ids,
        signs(rng, int(rng.integers(1, 15))),
    )


def ranked(scores: Array, is_mate: Array) -> list[tuple[float, bool]]:
    """Gallery rows best first, mates last among equals."""
    return sorted(zip(scores.tolist(), is_mate.tolist(), strict=True), key=lambda row: (-row[0], row[1]))


def place_of_mate(scores: Array, is_mate: Array) -> int:
    return 1 + [mate for _, mate in ranked(scores, is_mate)].index(True)


def cosines(first: Array, second: Array) -> Array:
    lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    return np.asarray(first @ second.T / lengths)


def test_survface_scorer_equals_the_golden() -> None:
    result = open_set_survface(*golden_open_set())
    printed = dict(line.split(": ") for line in GOLDEN["survface"]["printed"])
    assert result.auc == pytest.approx(float(printed.pop("auc")), abs=1e-6)
    assert {f"TPIR20 @ FAR={fpir:g}": f"{100 * tpir:.2f}%" for fpir, tpir in result.tpir.items()} == printed


def test_survface_scorer_is_near_the_exact_one_where_scores_are_many() -> None:
    exact, coarse = open_set(*golden_open_set()), open_set_survface(*golden_open_set())
    assert coarse.auc == pytest.approx(exact.auc, abs=2e-3)
    for fpir, tpir in exact.tpir.items():
        assert exact.fpir[fpir] <= fpir
        assert coarse.tpir[fpir] == pytest.approx(tpir, abs=0.02)


def test_joined_galleries_scorer_equals_the_golden() -> None:
    result = ijb_1n(*golden_ijb())
    printed = GOLDEN["ijbc_1n"]["printed"]
    assert [f"top{k} = {rate}" for k, rate in result.rank_rate.items()] == printed[2:5]
    assert [
        f"far = {fpir:.10f} pr = {tpir:.10f} th = {result.threshold[fpir]:.10f}"
        for fpir, tpir in result.tpir.items()
    ] == printed[5:]


@given(st.integers(0, 100_000), st.sampled_from([0.05, 0.2, 0.5, 0.9]), st.sampled_from([None, 1, 2, 20]))
@settings(max_examples=150)
def test_open_set_is_the_best_any_threshold_reaches(seed: int, fpir: float, rank: int | None) -> None:
    gallery, ids, mated, mated_ids, unmated = drawn_open_set(seed)
    result = open_set(gallery, ids, mated, mated_ids, unmated, fpirs=(fpir,), rank=rank)

    best = cosines(unmated, gallery).max(axis=1)
    hits = []
    for scores, mate in zip(cosines(mated, gallery), mated_ids, strict=True):
        found = rank is None or place_of_mate(scores, ids == mate) <= rank
        hits.append(scores[ids == mate][0] if found else -2.0)
    reached = [
        (float(np.mean(best > threshold)), float(np.mean(np.array(hits) > threshold)))
        for threshold in [-1.5, *np.unique(best)]
    ]
    assert result.tpir[fpir] == max(tpir for got, tpir in reached if got <= fpir + 1e-12)
    assert result.fpir[fpir] <= fpir
    wins = [(hit > other) + (hit == other) / 2 for hit in hits for other in best]
    assert result.auc == pytest.approx(np.mean(wins), abs=1e-12)
    assert (result.num_mated, result.num_unmated) == (len(mated), len(unmated))


@given(st.integers(0, 100_000), st.sampled_from([1, 2, 20]))
@settings(max_examples=40)
def test_survface_scorer_equals_its_thresholds_written_out(seed: int, rank: int) -> None:
    gallery, ids, mated, mated_ids, unmated = drawn_open_set(seed)
    result = open_set_survface(gallery, ids, mated, mated_ids, unmated, fpirs=(0.25,), rank=rank)
    candidates = np.sort(cosines(mated, gallery), axis=1)[:, ::-1][:, :rank]
    best = cosines(unmated, gallery).max(axis=1)
    found = [
        scores[ids == mate][0] if place_of_mate(scores, ids == mate) <= rank else -2.0
        for scores, mate in zip(cosines(mated, gallery), mated_ids, strict=True)
    ]
    thresholds = np.linspace(min(candidates.min(), best.min()), best.max(), 1000)[:, None]
    fpir, tpir = np.mean(best > thresholds, axis=1), np.mean(np.array(found) > thresholds, axis=1)
    distances = [abs(np.float32(reached) - np.float32(0.25)) for reached in fpir]
    assert result.tpir[0.25] == tpir[distances.index(min(distances))]
    assert result.auc == pytest.approx(-np.sum(np.diff(fpir) * (tpir[1:] + tpir[:-1]) / 2), abs=1e-12)


@given(st.integers(0, 100_000))
@settings(max_examples=100)
def test_closed_set_equals_lists_walked_from_the_top(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, int(rng.integers(1, 12)))
    probe_ids = rng.choice(ids, int(rng.integers(1, 8)))
    gallery, probes = signs(rng, len(ids)), signs(rng, len(probe_ids))
    distractors = signs(rng, int(rng.integers(0, 6)))
    result = closed_set(gallery, ids, probes, probe_ids, distractors=distractors, ranks=(1, 3))

    everybody = np.concatenate([gallery, distractors])
    places, plain, trapezoid = [], [], []
    for scores, mate in zip(cosines(probes, everybody), probe_ids, strict=True):
        is_mate = np.concatenate([ids == mate, np.zeros(len(distractors), bool)])
        places.append(place_of_mate(scores, is_mate))
        found, before, areas = 0, 1.0, []
        for place, (_, hit) in enumerate(ranked(scores, is_mate), 1):
            found += hit
            if hit:
                areas.append((found / place, (before + found / place) / 2))
            before = found / place
        plain.append(np.mean([area for area, _ in areas]))
        trapezoid.append(np.mean([area for _, area in areas]))
    assert result.rank_rate == {k: np.mean(np.array(places) <= k) for k in (1, 3)}
    assert result.mean_average_precision == pytest.approx(np.mean(plain), abs=1e-12)
    assert result.mean_average_precision_trapezoid == pytest.approx(np.mean(trapezoid), abs=1e-12)
    assert result.num_gallery == len(everybody)


@given(st.integers(0, 100_000), st.sampled_from([0.1, 0.34, 0.9]))
@settings(max_examples=100)
def test_joined_galleries_scorer_equals_the_protocol_written_out(seed: int, fpir: float) -> None:
    gallery, ids, probes, probe_ids, _ = drawn_open_set(seed)
    result = ijb_1n(gallery, ids, probes, probe_ids, fpirs=(fpir,), ranks=(1, 2))
    scores = cosines(probes, gallery)
    is_mate = ids == probe_ids[:, None]
    threshold = np.sort(scores[~is_mate])[-int(np.ceil(fpir * len(probes)))]
    assert result.threshold[fpir] == threshold
    assert result.tpir[fpir] == np.mean(scores[is_mate] > threshold)
    places = np.array([place_of_mate(*row) for row in zip(scores, is_mate, strict=True)])
    assert result.rank_rate == {k: np.mean(places <= k) for k in (1, 2)}


def test_the_standards_scorer_is_the_mean_of_two_open_sets() -> None:
    gallery, ids, probes, probe_ids = golden_ijb()
    galleries = [(gallery[:17], ids[:17]), (gallery[17:], ids[17:])]
    result = ijb_1n_standard(galleries, probes, probe_ids, fpirs=(0.05, 0.3), ranks=(1,))
    opened, rates = [], []
    for templates, own in galleries:
        mated = np.isin(probe_ids, own)
        opened.append(
            open_set(
                templates, own, probes[mated], probe_ids[mated], probes[~mated], fpirs=(0.05, 0.3), rank=None
            )
        )
        rates.append(closed_set(templates, own, probes[mated], probe_ids[mated], ranks=(1,)).rank_rate[1])
    for fpir in (0.05, 0.3):
        assert result.tpir[fpir] == pytest.approx(np.mean([one.tpir[fpir] for one in opened]))
    assert [one.threshold for one in result.per_gallery] == [one.threshold for one in opened]
    assert result.rank_rate[1] == pytest.approx(np.mean(rates))


@given(st.integers(0, 100_000), st.sampled_from([0.1, 0.34, 0.9]))
@settings(max_examples=60)
def test_the_standards_scorer_equals_the_protocol_written_out(seed: int, fpir: float) -> None:
    rng = np.random.default_rng(seed)
    people = rng.permutation(30)[:8]
    halves = (people[:3], people[3:])
    # Each gallery has mates and non-mates.
    probe_ids = np.concatenate([people[[0, 7]], rng.choice(people, int(rng.integers(0, 12)))])
    probes = signs(rng, len(probe_ids))
    galleries = [(signs(rng, len(ids)), ids) for ids in halves]
    result = ijb_1n_standard(galleries, probes, probe_ids, fpirs=(fpir,), ranks=(1, 2))
    tpir, rates = [], []
    for gallery, ids in galleries:
        scores, mated = cosines(probes, gallery), np.isin(probe_ids, ids)
        is_mate = ids == probe_ids[mated][:, None]
        best = scores[~mated].max(axis=1)
        reached = [
            (float(np.mean(best > threshold)), float(np.mean(scores[mated][is_mate] > threshold)))
            for threshold in [-1.5, *np.unique(best)]
        ]
        tpir.append(max(rate for got, rate in reached if got <= fpir + 1e-12))
        places = np.array([place_of_mate(*row) for row in zip(scores[mated], is_mate, strict=True)])
        rates.append([np.mean(places <= k) for k in (1, 2)])
    assert result.tpir[fpir] == pytest.approx(np.mean(tpir), abs=1e-12)
    assert list(result.rank_rate.values()) == pytest.approx(list(np.mean(rates, axis=0)), abs=1e-12)


def test_blocks_of_any_size_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gallery, ids = signs(rng, 30, 16), np.arange(30)
    probe_ids = rng.integers(0, 30, 50)
    probes = gallery[probe_ids] * rng.choice([1, 1, 1, -1], (50, 16))
    unmated = signs(rng, 40, 16)

    def everything() -> list[Any]:
        return [
            open_set(gallery, ids, probes, probe_ids, unmated),
            open_set_survface(gallery, ids, probes, probe_ids, unmated),
            closed_set(gallery, ids, probes, probe_ids, distractors=unmated),
            ijb_1n(gallery, ids, probes, probe_ids),
        ]

    whole = everything()
    monkeypatch.setattr(cosine, "_BLOCK_SCORES", 7 * 30)
    assert everything() == whole


def test_collapsed_embeddings_find_nobody() -> None:
    same = np.ones((10, 4))
    result = closed_set(same, np.arange(10), same, np.arange(10), ranks=(1, 9, 10))
    assert result.rank_rate == {1: 0.0, 9: 0.0, 10: 1.0}
    assert open_set(same, np.arange(10), same, np.arange(10), same, rank=None).tpir[0.3] == 0.0


def test_names_serve_as_ids_and_the_order_of_the_gallery_does_not_matter() -> None:
    gallery, ids, mated, mated_ids, unmated = golden_open_set()
    names = np.array([f"person {i}" for i in range(len(ids))])
    order = np.random.default_rng(0).permutation(len(ids))
    by_name = open_set(gallery[order], names[order], mated, names[mated_ids], unmated)
    assert by_name.tpir == open_set(gallery, ids, mated, mated_ids, unmated).tpir


def with_nan(rows: Array) -> Array:
    broken: Array = rows.copy()
    broken[2, 1] = np.nan
    return broken


@pytest.mark.parametrize("scorer", [open_set, open_set_survface])
def test_bad_open_sets_are_answered_with_what_is_expected(scorer: Callable[..., object]) -> None:
    names = ("gallery", "gallery_ids", "mated", "mated_ids", "unmated")
    good = dict(zip(names, golden_open_set(), strict=True))
    gallery, ids, mated, mated_ids, unmated = good.values()
    nobody = np.where(np.arange(len(mated_ids)) == 5, 99, mated_ids)
    broken = "embeddings are NaN or infinite, the first in row 2"
    cases: list[tuple[str, dict[str, Array]]] = [
        ("no mate in the gallery, the first is row 5 of id 99", {"mated_ids": nobody}),
        (
            "1 ids occur more than once, the first 7;.*identity_means",
            {"gallery_ids": np.where(ids == 8, 7, ids)},
        ),
        ("gallery: the set is empty", {"gallery": gallery[:0], "gallery_ids": ids[:0]}),
        ("probes: the set is empty", {"mated": mated[:0], "mated_ids": mated_ids[:0]}),
        (r"unmated probes: embeddings have shape \[0, 24\]", {"unmated": unmated[:0]}),
        (f"gallery: {broken}", {"gallery": with_nan(gallery)}),
        (f"probes: {broken}", {"mated": with_nan(mated)}),
        (f"unmated probes: {broken}", {"unmated": with_nan(unmated)}),
        (r"probes: ids have shape \[119\] for 120 embeddings", {"mated_ids": mated_ids[:-1]}),
        (r"unmated probes have shape \[150, 23\] and gallery \[40, 24\]", {"unmated": unmated[:, :-1]}),
    ]
    for message, wrong in cases:
        with pytest.raises(ValueError, match=message):
            scorer(**(good | wrong))
    with pytest.raises(ValueError, match="rank 0: expected 1 or more"):
        scorer(**good, rank=0)


def test_bad_targets_and_galleries_are_answered_with_what_is_expected() -> None:
    gallery, ids, probes, probe_ids = golden_ijb()
    with pytest.raises(ValueError, match=r"FPIR 1\.5 is no rate"):
        ijb_1n(gallery, ids, probes, probe_ids, fpirs=(1.5,))
    with pytest.raises(ValueError, match=r"1\.5 is no rate"):
        open_set(*golden_open_set(), fpirs=(1.5,))
    with pytest.raises(ValueError, match=r"0 impostor scores set no threshold for FPIR 0\.1, which takes 1"):
        ijb_1n(gallery[:1], ids[:1], probes[:1], ids[:1])
    with pytest.raises(ValueError, match="no gallery to search"):
        ijb_1n_standard([], probes, probe_ids)
    with pytest.raises(ValueError, match="gallery 1 holds mates of 90 of 90 probes"):
        ijb_1n_standard([(gallery, ids)], probes, probe_ids)
    with pytest.raises(ValueError, match="probes are in no gallery, the first is row 1 of id 14"):
        ijb_1n_standard([(gallery[:14], ids[:14]), (gallery[17:], ids[17:])], probes, probe_ids)
    with pytest.raises(ValueError, match=r"probes: ids have shape \[89\] for 90 embeddings"):
        ijb_1n_standard([(gallery[:17], ids[:17]), (gallery[17:], ids[17:])], probes, probe_ids[:-1])
    with pytest.raises(ValueError, match=r"distractors have shape \[35, 23\] and gallery \[35, 24\]"):
        closed_set(gallery, ids, probes, probe_ids, distractors=gallery[:, :-1])
    with pytest.raises(ValueError, match="distractors: embeddings are NaN or infinite, the first in row 2"):
        closed_set(gallery, ids, probes, probe_ids, distractors=with_nan(gallery))
    with pytest.raises(ValueError, match="no mate in the gallery, the first is row 0 of id 3"):
        closed_set(gallery[:3], ids[:3], probes, probe_ids)
