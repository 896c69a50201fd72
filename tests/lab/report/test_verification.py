"""Table 2 from result files: which numbers meet in which cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from btnet_lab.report.results import NOT_MEASURED, ResultFile, ResultSet, read_results
from btnet_lab.report.table import Table
from btnet_lab.report.verification import verification_section
from btnet_lab.report.verification_scores import collect, pair_key

PAIRS = ("112&14", "14&14", "112&112")
OF_14: dict[str, dict[str, Any]] = {
    "phi_mm r14": {"kind": "native", "canonical_size": 112, "resolutions": [14]},
    "phi_bt r14": {"kind": "branches", "canonical_size": 112, "resolutions": [112, 14]},
}


def file(
    accuracies: Mapping[str, tuple[float | None, ...]],
    *,
    sets: tuple[str, ...] = ("lfw",),
    sha256: str | None = "ab",
    place: str = "runs",
    **changes: str,
) -> ResultFile:
    results: list[dict[str, Any]] = [
        {"model": model, "pair": [int(side) for side in pair.split("&")], "accuracy": value}
        for model, values in accuracies.items()
        for pair, value in zip(PAIRS, values, strict=True)
    ]
    return ResultFile(
        path=Path("x.json"),
        task="verification",
        protocol=changes.get("protocol", "p"),
        interpolation=changes.get("interpolation", "bilinear"),
        models=[{"name": model, "path": f"{place}/{model}", **OF_14.get(model, {})} for model in accuracies],
        sets=[ResultSet(name, sha256, {}, results) for name in sets],
        versions={},
    )


FOUR = {
    "phi_hr": (0.6, 0.5, 0.9),
    "phi_mm r14": (0.5, 0.7, None),
    "phi_mr": (0.7, 0.6, 0.8),
    "phi_bt": (0.8, 0.75, 0.9),
}


def cells(table: Table, model: str, source: str = "") -> dict[str, Any]:
    [row] = [row for row in table.rows if (row.name, row.source) == (model, source)]
    return {f"{c.group} {c.name}": cell for c, cell in zip(table.columns, row.cells, strict=True)}


def tables(*files: ResultFile) -> list[Table]:
    [scores] = collect(files)
    return [block for block in verification_section(scores).blocks if isinstance(block, Table)]


def test_gains_are_measured_by_phi_mr_across_resolutions_and_by_phi_mm_at_one() -> None:
    cross, same = tables(file(FOUR))[:2]
    bt = cells(cross, "phi_bt")
    assert bt["112&14 acc., %"] == pytest.approx(80)
    assert bt["112&14 gain"] == pytest.approx((0.8 - 0.6) / (0.7 - 0.6))
    assert cells(same, "phi_bt")["14&14 gain"] == pytest.approx((0.75 - 0.5) / (0.7 - 0.5))
    assert cells(cross, "phi_mm")["112&14 gain"] == pytest.approx(-1)
    assert "112&112 gain" not in bt  # phi_mm is phi_hr there: no gain, no column
    assert cells(same, "phi_mm")["112&112 acc., %"] == pytest.approx(90)  # phi_hr's
    assert any(
        "what phi_mr adds or takes across resolutions (eq. 4), or phi_mm at one" in n for n in same.notes
    )


@pytest.mark.parametrize(
    ("missing", "pair", "other"), [("phi_mr", "112&14", "14&14"), ("phi_mm r14", "14&14", "112&14")]
)
def test_a_gain_whose_baseline_is_missing_is_a_dash(missing: str, pair: str, other: str) -> None:
    three = {model: values for model, values in FOUR.items() if model != missing}
    found = {key: value for table in tables(file(three))[:2] for key, value in cells(table, "phi_bt").items()}
    assert found[f"{pair} gain"] is None
    assert found[f"{other} gain"] is not None


def test_the_papers_rows_stand_below_ours_with_their_own_numbers_and_gains() -> None:
    cross = tables(file({**FOUR, "+ BCT": (0.7, 0.6, 0.8)}))[0]
    names = [(row.name, row.source) for row in cross.rows]
    for model in ("phi_hr", "phi_mm", "phi_bt", "+ BCT"):
        assert names[names.index((model, "")) + 1] == (model, "paper")
    theirs = {name for name, source in names if source}
    assert theirs == {"phi_hr", "phi_mm", "phi_mr v1", "phi_mr v2", "phi_mr v3", "phi_bt", "+ BCT"}
    assert cells(cross, "phi_bt", "paper") == {"112&14 acc., %": 94.08, "112&14 gain": 2.02}
    assert cells(cross, "phi_mm", "paper") == {"112&14 acc., %": 49.90, "112&14 gain": -4.82}
    assert cells(cross, "+ BCT", "paper") == {"112&14 acc., %": 85.90, "112&14 gain": None}


def test_averages_need_every_set() -> None:
    both = file(FOUR, sets=("lfw", "calfw"))
    [gone] = [r for r in both.sets[1].results if (r["model"], r["pair"]) == ("phi_mr", [14, 14])]
    both.sets[1].results[:] = [r for r in both.sets[1].results if r is not gone]
    same = tables(both)[1]
    assert cells(same, "phi_mr")["14&14 acc., %"] is None
    assert cells(same, "phi_bt")["14&14 acc., %"] == pytest.approx(75)


def test_the_drop_and_its_spread_over_sets() -> None:
    easy, hard = file(FOUR, sets=("lfw",)), file({**FOUR, "phi_bt": (0.6, 0.65, 0.9)}, sets=("calfw",))
    [drops] = [table for table in tables(easy, hard) if "lost against 112&112" in table.title]
    bt = cells(drops, "phi_bt")
    assert [bt[f"112&14 {name}"] for name in ("mean", "spread", "std")] == pytest.approx([20, 20, 10])


def test_results_with_a_checksum_count_before_those_of_training() -> None:
    training = file({"phi_hr": (0.1, 0.1, 0.1)}, sha256=None, place="/home/me/runs")
    cross = tables(training, file(FOUR), training)[0]
    assert cells(cross, "phi_hr")["112&14 acc., %"] == pytest.approx(60)


def test_other_folders_sets_and_interpolations_are_told_apart() -> None:
    other = file({"phi_hr": (0.1, 0.1, 0.1)}, place="elsewhere")
    [scores] = collect([file(FOUR), other])
    assert {"phi_hr (runs/phi_hr)", "phi_hr (elsewhere/phi_hr)"} <= set(scores.models)
    [scores] = collect([file(FOUR), file(FOUR, sha256="cd")])
    assert scores.sets == ["lfw (ab)", "lfw (cd)"]
    assert len(collect([file(FOUR), file(FOUR, interpolation="area")])) == 2


def test_models_of_one_resolution_each_are_shown_as_one() -> None:
    [scores] = collect([file({**FOUR, "phi_bt r14": FOUR["phi_bt"]})])
    assert "phi_bt r14" in scores.models  # a phi_bt is there already
    del scores
    alone = {name: values for name, values in FOUR.items() if name != "phi_bt"}
    [scores] = collect([file({**alone, "phi_bt r14": (0.8, 0.75, 0.9)})])
    assert scores.models == ["phi_hr", "phi_mm", "phi_mr", "phi_bt"]
    assert scores.accuracy("lfw", "phi_bt", "112&112") == 0.9


def told(name: str, resolutions: tuple[int, ...], **about: Any) -> dict[str, Any]:
    """A model as result files of today describe it."""
    kind = "branches" if len(resolutions) > 1 else "trunk"
    head = {"name": name, "kind": kind, "canonical_size": 112, "resolutions": list(resolutions)}
    return {
        **head,
        "fingerprint": name.encode().hex(),
        "networks": {"112": {"fingerprint": "t" * 64}},
        **about,
    }


def measured(about: dict[str, Any], accuracy: Mapping[str, float]) -> ResultFile:
    results = [
        {"model": about["name"], "pair": [int(side) for side in pair.split("&")], "accuracy": value}
        for pair, value in accuracy.items()
    ]
    return replace(file({}), models=[about], sets=[ResultSet("lfw", "ab", {}, results)])


def test_a_rate_that_its_set_cannot_carry_is_a_dash() -> None:
    rates = {"0.01": 0.7, "0.001": None}
    result = {"model": "phi_hr", "pair": [112, 14], "accuracy": 0.9, "tar_at_far": rates}
    [table] = [
        table
        for table in tables(replace(file({}), sets=[ResultSet("lfw", "ab", {}, [result])]))
        if "TAR at FAR" in table.title
    ]
    assert cells(table, "phi_hr") == {"112&14, FAR 0.01": pytest.approx(70), "112&14, FAR 0.001": None}
    assert table.notes == (NOT_MEASURED,)


def test_rates_of_older_files_that_their_set_cannot_carry_are_dashes(tmp_path: Path) -> None:
    result = {
        "model": "phi_hr",
        "pair": [112, 14],
        "accuracy": 0.9,
        "tar_at_far": {"0.01": 0.7, "0.001": 0.6},
    }
    found = {"name": "lfw", "sha256": "ab", "num_pairs": 300, "num_same": 150, "results": [result]}
    (tmp_path / "x.json").write_text(json.dumps({"task": "verification", "sets": [found]}))
    [rates] = [table for table in tables(read_results(tmp_path / "x.json")) if "TAR at FAR" in table.title]
    assert cells(rates, "phi_hr") == {"112&14, FAR 0.01": pytest.approx(70), "112&14, FAR 0.001": None}
    assert rates.notes == (NOT_MEASURED,)


def test_a_run_of_two_branches_keeps_the_numbers_of_both_whatever_its_role_says() -> None:
    two = measured(
        told("phi_bt r14", (112, 28, 14)),
        {"112&28": 0.95, "28&28": 0.94, "112&14": 0.9, "14&14": 0.85, "28&14": 0.8, "112&112": 0.97},
    )
    [scores] = collect([two])
    assert scores.models == ["phi_bt"]
    assert {pair: scores.accuracy("lfw", "phi_bt", pair) for pair in scores.pairs} == {
        "112&28": 0.95, "28&28": 0.94, "112&14": 0.9, "14&14": 0.85, "28&14": 0.8, "112&112": 0.97
    }  # fmt: skip
    # Of a file that does not say what its model is, no number is dropped either.
    [scores] = collect([measured({"name": "phi_bt r14"}, {"112&28": 0.95, "112&14": 0.9})])
    assert scores.accuracy("lfw", "phi_bt r14", "112&28") == 0.95


def test_runs_of_one_branch_each_are_one_model_where_they_stand_on_one_trunk() -> None:
    def runs(**of_seven: Any) -> list[ResultFile]:
        # The run for 7 px has numbers for 14 px faces too, by a network that is not made for them.
        seven = {**told("phi_bt plus r7", (112, 7)), **of_seven}
        return [
            measured(told("phi_bt plus r14", (112, 14)), {"112&14": 0.9, "112&112": 0.97}),
            measured(seven, {"112&7": 0.8, "112&14": 0.5, "112&112": 0.97}),
        ]

    [scores] = collect(runs())
    assert scores.models == ["phi_bt plus"]
    assert [scores.accuracy("lfw", "phi_bt plus", pair) for pair in ("112&7", "112&14")] == [0.8, 0.9]
    assert scores.members["phi_bt plus"] == {
        "112&7": "phi_bt plus r7", "112&14": "phi_bt plus r14", "112&112": "phi_bt plus r14"
    }  # fmt: skip
    [scores] = collect(runs(networks={"112": {"fingerprint": "u" * 64}}))
    assert scores.models == ["phi_bt plus r14", "phi_bt plus r7"]
    [scores] = collect(runs(resolutions=[112, 14, 7]))
    assert scores.models == ["phi_bt plus r14", "phi_bt plus r7"]


def test_models_are_one_by_their_weights_and_rows_are_called_by_their_role() -> None:
    here = told("copy", (112,), role="phi_hr", fingerprint="a" * 64, path="backup/old/phi_hr")
    there = told("model", (112,), role="phi_hr", fingerprint="a" * 64, path="runs/model.pt")
    [scores] = collect([measured(here, {"112&14": 0.6}), measured(there, {"14&14": 0.5})])
    assert scores.models == ["phi_hr"]
    assert [scores.accuracy("lfw", "phi_hr", pair) for pair in ("112&14", "14&14")] == [0.6, 0.5]
    # Trained again in the same place: another model.
    again = {**there, "fingerprint": "b" * 64}
    [scores] = collect([measured(there, {"112&14": 0.6}), measured(again, {"112&14": 0.7})])
    assert scores.models == ["phi_hr (aaaaaaaa)", "phi_hr (bbbbbbbb)"]


def test_models_stand_in_the_order_of_table_2_however_the_files_came() -> None:
    values = FOUR["phi_mr"]
    names = ("mine", "phi_bt", "phi_mr v3", "phi_hr", "phi_mr v1", "another", "phi_mr v2", "phi_mm")
    [scores] = collect([file({name: values}) for name in names])
    versions = ["phi_mr v1", "phi_mr v2", "phi_mr v3"]
    assert scores.models == ["phi_hr", "phi_mm", *versions, "phi_bt", "mine", "another"]


def test_pairs_of_two_sizes_come_first_then_small_before_large() -> None:
    pairs = ["112&112", "7&7", "112&28", "112&7"]
    assert sorted(pairs, key=pair_key) == ["112&7", "112&28", "7&7", "112&112"]
