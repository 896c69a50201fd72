"""The plans hold together: each row's settings are keys of its config, and what it stands on comes before it."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from btnet.training.config_file import load_config
from btnet.training.removed_keys import REMOVED
from btnet_lab.evidence.comparisons import all_comparisons
from btnet_lab.evidence.faces import Source
from btnet_lab.evidence.job_config import LOCAL
from btnet_lab.evidence.plan import GIVEN_TRUNK, Plan
from btnet_lab.evidence.record import Record, choose, read_records
from btnet_lab.evidence.rows import full_plan, quick_plan
from btnet_lab.evidence.runner import Runner

CONFIGS = Path(__file__).parents[3] / "configs"
RESULTS = Path(__file__).parents[3] / "docs" / "results"
PLANS = pytest.mark.parametrize("plan", [quick_plan(), full_plan()], ids=["quick", "full"])


@PLANS
def test_every_row_is_a_config_and_stands_on_a_row_before_it(plan: Plan) -> None:
    jobs = plan.jobs()
    assert len({job.name for job in jobs}) == len(jobs)
    before: set[str] = set()
    for job in jobs:
        if job.row.config:
            keys = ["trunk=T.pt", *(f"{key}={value}" for key, value in job.row.settings.items())]
            load_config(CONFIGS / job.row.config, keys)
        assert job.row.trunk == GIVEN_TRUNK or job.row.trunk in before
        before.add(job.row.name)
    names = {row.name for row in plan.rows}
    assert {name for found in plan.comparisons for name in (found.first, found.second)} <= names


def test_a_method_is_chosen_on_no_person_of_the_tables() -> None:
    plan = full_plan()
    methods = {sweep.row.method for sweep in plan.sweeps}
    assert {row.method for row in plan.rows if row.method} == methods
    assert {row.data for sweep in plan.sweeps for row in sweep.rows()} == {"part"}
    assert "part" not in {row.data for row in plan.rows}


def test_table_2_has_three_seeds_where_it_says_so() -> None:
    rows = {row.name: len(row.seeds) for row in full_plan().rows}
    tripled = {f"bt_{on}r{r}" for on in ("", "mr_") for r in (28, 14, 7)} | {
        "mr_v1",
        "mm_r14",
        "mm_trunk_r14",
    }
    assert tripled <= {name for name, count in rows.items() if count == 3}


def test_the_settings_with_the_best_mean_are_chosen_and_full_resolution_does_not_count() -> None:
    sweep = next(sweep for sweep in full_plan().sweeps if sweep.row.method == "bt")
    rows = sweep.rows()
    accuracies = [(0.9, 0.80), (0.8, 0.88), (0.99, 0.70), (0.9, 0.80)]
    nothing: dict[str, Any] = {field.name: {} for field in fields(Record)}
    records = [
        Record(
            **{
                **nothing,
                "name": row.name,
                "accuracy": {"112&112": high, "112&14": low, "14&14": low},
            }
        )
        for row, (high, low) in zip(rows, accuracies, strict=True)
    ]
    assert choose(sweep, records) == {"lr": 0.05}
    assert choose(sweep, []) is None


def test_a_sweep_runs_before_the_first_row_that_takes_its_choice_and_seeds_wait_for_their_turn() -> None:
    plan = full_plan()
    names = [job.name for job in plan.jobs()]
    assert len(names) == sum(len(row.seeds) for row in plan.rows if not row.removed) + sum(
        len(list(sweep.rows())) for sweep in plan.sweeps
    )
    for sweep in plan.sweeps:
        last_tried = max(names.index(f"{row.name}-s1") for row in sweep.rows())
        takers = [row for row in plan.rows if row.method == sweep.row.method and not row.removed]
        assert all(last_tried < names.index(f"{row.name}-s1") for row in takers)
    turns = [(row.turn + (seed > 1), seed) for name in names if not name.startswith("choice")
             for row, seed in [(plan.row(name[:-3]), int(name[-1]))]]  # fmt: skip
    assert turns == sorted(turns)


def test_what_each_stored_result_was_learnt_with_is_what_the_plan_says(tmp_path: Path) -> None:
    plan, records = full_plan(), read_records(RESULTS)
    runner = Runner(Source(tmp_path / "trunk.pt", tmp_path), plan, tmp_path, configs=CONFIGS)
    shutil.copytree(RESULTS, runner.at.results)
    runner._choose(plan.sweeps)
    jobs = {job.name: job for job in [*plan.jobs(), *plan.recorded()]}
    base = load_config(CONFIGS / "base")
    off = {**base, **{key: removed.off for key, removed in REMOVED.items()}}
    checked = []
    for record in records:
        job = jobs[f"{record.name}-s{record.seed}"]
        if job.row.tail_at:  # a unit of the trunk that was given then
            continue
        said = runner.at._decisive(job, runner.at.config(job))
        learnt_with = {
            key: value for key, value in record.settings.items() if key not in LOCAL and value != off[key]
        }
        assert json.dumps(said, sort_keys=True) == json.dumps(learnt_with, sort_keys=True), job.name
        assert (plan.order(job.row.name), job.row.places) == (record.order, record.places)
        checked.append(job)
    removed = [job for job in checked if job.row.removed]
    assert {key for job in removed for key in job.row.removed} == set(REMOVED)
    assert len(removed) == len(plan.recorded()) == 11
    assert len(checked) > 100


def test_a_row_of_a_removed_key_is_compared_but_never_run() -> None:
    plan = full_plan()
    assert not {job.name for job in plan.jobs()} & {job.name for job in plan.recorded()}
    compared = {name for each in all_comparisons(plan) for name in (each.first, each.second)}
    assert {job.row.name for job in plan.recorded()} <= compared
