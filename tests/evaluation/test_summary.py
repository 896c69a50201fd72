import pytest

from btnet.evaluation.summary import accuracy_drop, average, average_gain, gain


def test_averages_are_undefined_where_a_set_is_missing() -> None:
    assert average([0.5, 1.0]) == 0.75
    assert average([0.5, None]) is None
    assert average([0.5, float("nan")]) is None
    assert average([]) is None


def test_gain_is_the_share_of_the_way_and_undefined_without_a_way() -> None:
    assert gain(0.9, 0.8, 0.95) == pytest.approx(2 / 3)
    assert gain(0.95, 0.8, 0.95) == pytest.approx(1)
    # phi_mm worse than phi_hr: a better model still gains.
    assert gain(0.9, 0.8, 0.6) == pytest.approx(0.5)
    assert gain(0.7, 0.8, 0.95) == pytest.approx(-2 / 3)
    assert gain(0.9, 0.8, 0.8) is None
    assert gain(0.9, 0.1 + 0.2, 0.3) is None
    assert gain(float("nan"), 0.8, 0.9) is None


def test_the_gain_over_sets_is_that_of_the_averages_and_not_the_average_of_gains() -> None:
    model, hr, mm = {"lfw": 0.9, "cfp": 0.8}, {"lfw": 0.8, "cfp": 0.6}, {"lfw": 0.82, "cfp": 1.0}
    assert average_gain(model, hr, mm) == pytest.approx(gain(0.85, 0.7, 0.91))
    mean_of_gains = average([gain(model[name], hr[name], mm[name]) for name in model])
    assert mean_of_gains == pytest.approx(2.75)
    # phi_mm behind phi_hr: the sign still says that the model beats phi_hr
    assert average_gain(model, hr, {"lfw": 0.7, "cfp": 0.5}) == pytest.approx(1.5)


def test_the_gain_over_sets_is_undefined_where_its_parts_are() -> None:
    hr = {"lfw": 0.8, "cfp": 0.6}
    assert average_gain(hr, hr, hr) is None
    assert average_gain({"lfw": 0.9, "cfp": None}, hr, {"lfw": 0.9, "cfp": 0.9}) is None
    with pytest.raises(ValueError, match="same sets of all three models"):
        average_gain({"lfw": 0.9}, hr, hr)


def test_the_spread_of_the_drop_is_between_the_best_and_the_worst_set() -> None:
    drop = accuracy_drop({"lfw": 0.99, "cfp": 0.98, "agedb": 0.97}, {"lfw": 0.98, "cfp": 0.93, "agedb": 0.97})
    assert drop.by_set == pytest.approx({"lfw": 0.01, "cfp": 0.05, "agedb": 0.0})
    assert (drop.mean, drop.spread) == pytest.approx((0.02, 0.05))
    assert drop.std == pytest.approx((14e-4 / 3) ** 0.5)
    with pytest.raises(ValueError, match="expected the same, at least one"):
        accuracy_drop({"lfw": 0.9}, {"cfp": 0.9})
    with pytest.raises(ValueError, match="expected the same, at least one"):
        accuracy_drop({}, {})
