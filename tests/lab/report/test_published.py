"""The paper's tables as they are stored, against what can be computed from them and what its text says."""

from __future__ import annotations

from typing import Any

import pytest

from btnet.evaluation.summary import GainBaselines, gain_text, gains
from btnet.serving.ijb_run import add_ijb_gains
from btnet_lab.analysis.cost import model_costs, trunk_of
from btnet_lab.report.published import published

PAIRS = ("112&7", "112&14", "112&28", "7&7", "14&14", "28&28", "112&112")
MODELS = ("phi_hr", "phi_mm", "phi_mr v1", "phi_bt")
BASELINES = GainBaselines("phi_hr", "phi_mr v1", "phi_mm")


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    ("section", "column"), [("verification", "accuracy"), ("ijbc 1:1", "0.0001"), ("ijbc 1:N", "tpir 0.1")]
)
def test_every_printed_gain_of_tables_2_10_and_11_comes_out_of_its_accuracies(
    section: str, column: str, pair: str
) -> None:
    rows = {model: numbers for (model, at), numbers in published(section).items() if at == pair}
    found = gains(pair, {model: numbers[column] for model, numbers in rows.items()}, BASELINES)
    ours = {model: "-" if value is None else f"{value:+.2f}" for model, value in found.items()}
    theirs = {model: f"{row['gain']:+.2f}" if "gain" in row else "-" for model, row in rows.items()}
    # The paper prints no gain of phi_hr's, which is 0, and one that is 0 / 0.
    theirs["phi_hr"] = "-" if ours["phi_hr"] == "-" else "+0.00"
    if (section, pair) == ("ijbc 1:1", "7&7"):
        assert (ours["phi_mm"], theirs.pop("phi_mm")) == ("-", "+0.00")
    assert {model: ours[model] for model in theirs} == theirs


def test_every_table_is_whole() -> None:
    models = (*MODELS[:3], "phi_mr v2", "phi_mr v3", "phi_bt")
    assert list(published("verification")) == [(model, pair) for model in models for pair in PAIRS]
    for section in ("ijbc 1:1", "ijbc 1:N"):
        assert list(published(section)) == [(model, pair) for model in MODELS for pair in PAIRS]
    others = [model for model, strategy in published("survface") if not strategy]
    assert (len(others), len(published("survface"))) == (15, 15 + 9)
    rows = [*published("ijbc 1:1").values(), *published("ijbc 1:N").values()]
    assert {len(numbers.keys() - {"gain"}) for numbers in rows} == {6, 5}


def test_rates_rise_with_what_they_allow() -> None:
    columns = [
        ("ijbc 1:1", ["1e-06", "1e-05", "0.0001", "0.001", "0.01", "0.1"]),
        ("ijbc 1:N", ["tpir 0.01", "tpir 0.1"]),
        ("ijbc 1:N", ["rank 1", "rank 5", "rank 10"]),
        ("survface", ["0.01", "0.1", "0.2", "0.3", "auc"]),
    ]
    for section, names in columns:
        for key, numbers in published(section).items():
            known = [numbers[name] for name in names if name in numbers]
            assert known == sorted(known), (section, key)


def test_what_tables_repeat_is_equal_in_all_of_them() -> None:
    """phi_mm is phi_hr at full size, phi_bt its trunk phi_mr; Table 4 ends with rows of Tables 2 and 5."""
    for section in ("verification", "ijbc 1:1", "ijbc 1:N"):
        rows = published(section)
        assert rows["phi_mm", "112&112"] == rows["phi_hr", "112&112"]
        assert rows["phi_bt", "112&112"] == rows["phi_mr v1", "112&112"]
    table2, training = published("verification"), published("training")
    for pair in ("112&14", "14&14"):
        accuracy = {model: training[model, pair]["accuracy"] for model, at in training if at == pair}
        assert accuracy["scratch"] == table2["phi_mm", pair]["accuracy"]
        assert accuracy["+ branch distillation"] == table2["phi_bt", pair]["accuracy"]
        assert accuracy["CurricularFace"] == table2["phi_bt", pair]["accuracy"]


def test_table_4_stores_what_our_networks_count() -> None:
    costs = {cost.resolution: cost for cost in model_costs(trunk_of("r50"), (14,))}
    training = published("training")
    assert training["scratch", "14&14"]["parameters"] == round(costs[112].learnt / 1e6, 2)
    assert training["+ fix trunk", "14&14"]["parameters"] == round(costs[14].learnt / 1e6, 2)


def test_the_text_of_section_4_3_quotes_table_2() -> None:
    """ "2.02 ~5.00 cross-resolution gain and 2.45 ~ 9.13 same-resolution gain"."""
    bt = {pair: numbers for (model, pair), numbers in published("verification").items() if model == "phi_bt"}
    across, at_one = (sorted(bt[pair]["gain"] for pair in pairs) for pairs in (PAIRS[:3], PAIRS[3:6]))
    assert (across[0], across[-1]) == (2.02, 5.00)
    assert (at_one[0], at_one[-1]) == (2.45, 9.13)


def test_the_command_for_ijbc_gives_the_papers_models_the_papers_gains() -> None:
    entries: list[dict[str, Any]] = [
        {
            "model": model,
            "pair": list(map(int, pair.split("&"))),
            "tar_at_far": {"0.0001": published("ijbc 1:1")[model, pair]["0.0001"] / 100},
            "ijb_1n": {"tpir": {"0.1": published("ijbc 1:N")[model, pair]["tpir 0.1"] / 100}},
            "ijb_1n_standard": {"tpir": {"0.1": None}},
        }
        for model in MODELS
        for pair in PAIRS
    ]
    add_ijb_gains(entries, BASELINES)
    found = {(entry["model"], tuple(entry["pair"])): entry["gain"] for entry in entries}
    at_14 = found["phi_bt", (112, 14)]
    assert (gain_text(at_14["tar_at_far"]), gain_text(at_14["tpir"])) == ("+1.87", "+1.66")
    at_7 = found["phi_bt", (7, 7)]
    assert (gain_text(at_7["tar_at_far"]), gain_text(at_7["tpir"])) == ("-", "+204.83")
    assert at_14["tpir_standard"] is None
