import pytest

from btnet.evaluation.summary import GainBaselines, average, gain_text, gains


def test_averages_are_undefined_where_a_set_is_missing() -> None:
    assert average([0.5, 1.0]) == 0.75
    assert average([0.5, None]) is None
    assert average([0.5, float("nan")]) is None
    assert average([]) is None


BASELINES = GainBaselines("hr", "mr", "mm")


@pytest.mark.parametrize(("pair", "baseline"), [("112&14", "mr"), ("14&112", "mr"), ("14&14", "mm")])
def test_a_gain_is_measured_by_phi_mr_across_resolutions_and_by_phi_mm_at_one(
    pair: str, baseline: str
) -> None:
    other = {"mr": "mm", "mm": "mr"}[baseline]
    found = gains(pair, {"hr": 0.8, baseline: 0.95, other: 0.1, "bt": 0.9, "worse": 0.7}, BASELINES)
    assert found["bt"] == pytest.approx(2 / 3)
    assert found["worse"] == pytest.approx(-2 / 3)
    assert found[baseline] == pytest.approx(1)
    assert found["hr"] == 0
    # A baseline below phi_hr: a better model still gains.
    assert gains(pair, {"hr": 0.8, baseline: 0.6, "bt": 0.9}, BASELINES)["bt"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("pair", "changed"),
    [
        ("112&14", {"mr": 0.8}),
        ("112&14", {"mr": 0.1 + 0.7}),  # equal but for rounding
        ("112&14", {"mr": None}),
        ("112&14", {"hr": None}),
        ("112&14", {"mr": float("nan")}),
        ("112&14", {"bt": None}),
        ("112&14", {"bt": float("nan")}),
        ("14&14", {"mm": 0.8}),
        ("14&14", {"mm": None}),
        ("native&native", {}),
        ("112&native", {}),
    ],
)
def test_a_gain_without_its_parts_is_no_number(pair: str, changed: dict[str, float | None]) -> None:
    numbers: dict[str, float | None] = {"hr": 0.8, "mr": 0.9, "mm": 0.7, "bt": 0.95}
    assert gains(pair, {**numbers, **changed}, BASELINES)["bt"] is None


def test_a_model_that_is_not_among_those_of_a_table_measures_nothing() -> None:
    numbers = {"phi_hr": 0.8, "phi_mm": 0.9, "phi_bt": 0.95}
    baselines = GainBaselines.among(numbers)
    assert baselines == GainBaselines("phi_hr", None, "phi_mm")
    assert gains("112&14", numbers, baselines)["phi_bt"] is None
    assert gains("14&14", numbers, baselines)["phi_bt"] == pytest.approx(1.5)
    assert GainBaselines.among(["phi_mr", "phi_mr v2"]).multi_resolution == "phi_mr"
    assert GainBaselines.among(["phi_mr v2", "phi_mr v1"]).multi_resolution == "phi_mr v1"


@pytest.mark.parametrize(
    ("gain", "text"), [(None, "-"), (0.0, "+0.00"), (-0.001, "+0.00"), (-305.8, "-305.80"), (2.017, "+2.02")]
)
def test_a_gain_is_shown_with_its_sign_and_nothing_has_a_plus(gain: float | None, text: str) -> None:
    assert gain_text(gain) == text
