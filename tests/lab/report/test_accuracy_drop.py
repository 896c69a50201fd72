from __future__ import annotations

import pytest

from btnet_lab.report.accuracy_drop import accuracy_drop


def test_the_spread_of_the_drop_is_between_the_best_and_the_worst_set() -> None:
    drop = accuracy_drop({"lfw": 0.99, "cfp": 0.98, "agedb": 0.97}, {"lfw": 0.98, "cfp": 0.93, "agedb": 0.97})
    assert drop.by_set == pytest.approx({"lfw": 0.01, "cfp": 0.05, "agedb": 0.0})
    assert (drop.mean, drop.spread) == pytest.approx((0.02, 0.05))
    assert drop.std == pytest.approx((14e-4 / 3) ** 0.5)
    with pytest.raises(ValueError, match="expected the same, at least one"):
        accuracy_drop({"lfw": 0.9}, {"cfp": 0.9})
    with pytest.raises(ValueError, match="expected the same, at least one"):
        accuracy_drop({}, {})
