"""Learning curves: a power law is found again, and what does not fall foretells nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from btnet_lab.evidence.learning import curves
from btnet_lab.evidence.record import Record
from stand_in import stand_in_records


def rows(errors: dict[int, float]) -> list[Record]:
    record = next(each for each in stand_in_records() if each.name == "bt_r14" and each.seed == 1)
    return [
        replace(
            record,
            name=f"bt_{size}",
            accuracy={"112&112": 0.99, "14&14": 1 - error},
            cost=replace(record.cost, num_images=size),
            places={"passes": str(size)},
        )
        for size, error in errors.items()
    ]


def test_a_power_law_is_found_again_whatever_the_order() -> None:
    (curve,) = curves(rows({size: 3 * size**-0.5 for size in (800, 100, 400, 200)}), "passes")
    assert curve.pair == "14&14"
    assert curve.sizes == [100, 200, 400, 800]
    assert curve.kept_by_doubling == pytest.approx(2**-0.5)
    assert curve.error_at(10_000) == pytest.approx(0.03)


def test_two_points_have_a_curve_and_no_line_and_one_point_no_curve() -> None:
    (curve,) = curves(rows({100: 0.2, 200: 0.1}), "passes")
    assert curve.line is None
    assert curve.error_at(400) is None
    assert curves(rows({100: 0.2}), "passes") == []
    (perfect,) = curves(rows({100: 0.2, 200: 0.1, 400: 0.0}), "passes")
    assert perfect.kept_by_doubling is None


def test_seeds_of_one_size_are_one_point() -> None:
    (curve,) = curves([*rows({100: 0.2, 200: 0.1}), *rows({100: 0.3})], "passes")
    assert curve.means == pytest.approx([0.25, 0.1])
    assert sorted(curve.errors[0]) == pytest.approx([0.2, 0.3])
