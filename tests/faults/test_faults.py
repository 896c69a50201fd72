"""A few kills of each kind, and that what the table says of them is not said of what was lost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import single_faults
from btnet.cli import main
from btnet.serving.feature_file import FeatureFile
from btnet.training.output_folder import sweep
from disks import SkippedError, filled, make_read_only, small_disk
from fault_tables import held, shortcomings, tables
from jobs import ROOT
from kills import kill_evaluation, kill_training
from single_faults import Outcome, Place, try_fault
from tiny_runs import Evaluation, evaluation_data, training_data


@pytest.mark.nightly
def test_a_training_that_was_killed_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    counts = kill_training(training_data(tmp_path), tmp_path, 1, num_steps=16, processes=1, seed=4)
    assert counts["kills"] == 1
    assert shortcomings("training", counts) == []


@pytest.mark.nightly
def test_an_evaluation_that_was_killed_ends_with_the_numbers_of_one_that_was_not(tmp_path: Path) -> None:
    model, root = evaluation_data(tmp_path, 300)
    undisturbed = Evaluation(model, root, tmp_path / "features", tmp_path / "undisturbed.json")
    counts = kill_evaluation(undisturbed, tmp_path, 1, seed=1)
    assert counts["kills"] == 1
    assert shortcomings("evaluation", counts) == []


def test_what_was_lost_is_told() -> None:
    counts: dict[str, Any] = {
        "kills": 2,
        "runs": 2,
        "most steps lost": 3,
        "steps that may be lost": 10,
        "processes left behind": 0,
        "runs that ended with the undisturbed run's weights": 2,
    }
    assert held({"training": counts}, [])
    for change in (
        {"most steps lost": 11},
        {"processes left behind": 1},
        {"runs that ended with the undisturbed run's weights": 1},
        {"kills after which all embeddings that had been written were there": 1},
    ):
        assert not held({"training": {**counts, **change}}, [])
    assert not held({}, [Outcome("a disk is full", "FAILED", "nothing was said")])
    assert held({}, [Outcome("a disk is full", "skipped", "no mount")])
    assert "| a disk is full | skipped | no mount |" in tables(
        {}, [Outcome("a disk is full", "skipped", "no mount")]
    )


def test_a_fault_that_costs_something_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = object.__new__(Place)  # without its runs
    place.folder = tmp_path

    def harmless(_: Place) -> str:
        """Nothing at all."""
        return "nothing"

    def costly(_: Place) -> str:
        """Everything."""
        raise AssertionError("all is lost")

    def elsewhere(_: Place) -> str:
        """What cannot be here."""
        raise SkippedError("not here")

    for function, result in ((harmless, "held"), (costly, "FAILED"), (elsewhere, "skipped")):
        monkeypatch.setitem(single_faults.FAULTS, function.__name__, function)
        assert try_fault(function.__name__, place).result == result


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    try:
        with small_disk(tmp_path / "disk", 1) as found:
            yield found
    except SkippedError as reason:
        pytest.skip(str(reason))


def test_a_full_disk_is_told_before_the_first_embedding_and_leaves_nothing_half_made(disk: Path) -> None:
    with filled(disk), pytest.raises(OSError, match=r"no room for 1000 embeddings .*No space left"):
        FeatureFile.open(disk / "features", {}, 1000, 64)
    file = FeatureFile.open(disk, {}, 1000, 64)
    with filled(disk):  # what is full now was set aside before
        file.write(np.arange(1000), np.ones((1000, 64), np.float32))
    assert file.done.all()


def test_a_result_for_a_read_only_disk_is_refused_in_one_line(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, root = evaluation_data(tmp_path, 0)
    make_read_only(disk)
    output = disk / "result.json"
    words = ["survface", model, "--root", root, "--features", tmp_path / "f", "--device", "cpu", "-o", output]
    assert main([str(word) for word in words]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line == f"btnet: error: [Errno 30] Read-only file system: '{output}'"


def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    kept = ["model.pt", ".hidden.tmp", "checkpoints/step_000000005/x", "results/lfw.json"]
    gone = [".model.pt.123.tmp", ".checkpoints.old/step_1/x", "checkpoints/.step_000000010.tmp/x"]
    for name in [*kept, *gone]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    ) == sorted(kept)
    assert not (tmp_path / ".checkpoints.old").exists()


def test_nothing_is_decided_by_the_wall_clock() -> None:
    """Clocks are set back and forth; what lasts is measured by those that are not."""
    wall = {
        "time",
        "time_ns",
        "now",
        "utcnow",
        "today",
        "localtime",
        "gmtime",
        "st_mtime",
        "st_ctime",
        "getmtime",
    }
    for path in (ROOT / "recognition").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in wall:
                pytest.fail(f"{path}: line {node.lineno}: {node.attr}")
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not wall & {alias.name for alias in node.names}, path
