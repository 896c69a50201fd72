"""Differences against SciPy's t test; each reason to doubt one changes the verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from btnet_lab.evidence.comparisons import all_comparisons
from btnet_lab.evidence.groups import difference, signed
from btnet_lab.evidence.record import Record
from btnet_lab.evidence.rows import full_plan
from stand_in import stand_in_records

PAIR = "14&14"
FIRST, SECOND = [0.91, 0.913, 0.908], [0.90, 0.902, 0.899]


def group(name: str, values: list[float]) -> list[Record]:
    record = next(each for each in stand_in_records() if each.name == "bt_r14")
    return [
        replace(record, name=name, seed=seed, accuracy={PAIR: value})
        for seed, value in enumerate(values, start=1)
    ]


def bootstrap(low: float, high: float, first: str = "a", second: str = "b") -> list[dict[str, Any]]:
    return [{"first": first, "second": second, "pair": PAIR, "low": low, "high": high}]


def test_the_seeds_share_is_two_standard_errors_of_students_test() -> None:
    found = difference(group("a", FIRST), group("b", SECOND), PAIR, bootstrap(0.004, 0.016))
    test = ttest_ind(FIRST, SECOND)
    assert found is not None
    assert found.seeds is not None
    points = 100 * (np.mean(FIRST) - np.mean(SECOND))
    assert found.points == pytest.approx(points)
    assert found.seeds == pytest.approx(2 * points / test.statistic)
    assert found.interval == pytest.approx((0.4, 1.6))
    assert found.interval_text == "+0.40 to +1.60"


@pytest.mark.parametrize(
    ("first", "second", "comparisons", "verdict"),
    [
        (FIRST, SECOND, bootstrap(0.004, 0.016), "yes"),
        (FIRST, SECOND, bootstrap(-0.001, 0.016), "no"),
        ([0.93, 0.89, 0.911], SECOND, bootstrap(0.004, 0.016), "no"),
        (FIRST[:1], SECOND[:1], bootstrap(0.004, 0.016), "one seed"),
        (FIRST, SECOND[:1], bootstrap(0.004, 0.016), "yes"),
        (FIRST, SECOND, [], None),
    ],
    ids=["both", "people", "seeds", "one of each", "one of them", "no bootstrap"],
)
def test_a_difference_is_outside_chance_when_neither_people_nor_seeds_explain_it(
    first: list[float], second: list[float], comparisons: list[dict[str, Any]], verdict: str | None
) -> None:
    found = difference(group("a", first), group("b", second), PAIR, comparisons)
    assert found is not None
    assert found.verdict == verdict
    assert found.significant == (verdict in ("yes", "one seed"))


def test_a_bootstrap_made_the_other_way_round_is_turned() -> None:
    found = difference(group("a", FIRST), group("b", SECOND), PAIR, bootstrap(-0.016, -0.004, "b", "a"))
    assert found is not None
    assert found.interval == pytest.approx((0.4, 1.6))


def test_a_pair_that_one_of_them_lacks_is_no_comparison() -> None:
    assert difference(group("a", FIRST), group("b", SECOND), "28&28", []) is None


def test_what_rounds_to_nothing_has_no_minus() -> None:
    assert [signed(value) for value in (-0.001, 0.0, -0.006, 1.0)] == ["+0.00", "+0.00", "-0.01", "+1.00"]


def test_every_row_that_a_table_compares_is_compared_once() -> None:
    plan = full_plan()
    found = [(each.first, each.second) for each in all_comparisons(plan)]
    assert len({frozenset(names) for names in found}) == len(found)
    for row in plan.rows:
        if "beyond" in row.places and row.places["beyond"] != "phi_bt":
            assert all((row.name, f"bt_r{size}") in found for size in plan.sizes(row))
        if row.places.get("table2", "phi_bt") != "phi_bt" and not row.resolution:
            assert {(f"bt_r{r}", row.name) for r in (28, 14, 7)} <= set(found)
    steps = [("mm_trunk_r14", "mm_r14"), ("bct", "mm_trunk_r14"), ("fixed", "bct"), ("bt_r14", "fixed")]
    assert set(steps) <= set(found)
    pairs = {(each.first, each.second): list(each.pairs) for each in all_comparisons(plan)}
    assert pairs["fixed", "bct"] == ["112-14", "14-14"]
