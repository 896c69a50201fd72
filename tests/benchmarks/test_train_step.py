from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from compared_steps import QUICK, Bench, check_same_work
from head_scaling import main as head_scaling
from train_step import main


def test_the_transcription_and_our_step_learn_the_same(tmp_path: Path) -> None:
    bench = Bench(QUICK, tmp_path, torch.device("cpu"))
    for r in QUICK.branches:
        check_same_work(bench, r, tolerance=2e-4)
    reference, run = bench.reference(QUICK.branch)
    step, _ = bench.ours([QUICK.branch])
    run(), bench.apply(step)()
    ours = step.learners[0].learnt
    theirs = {key: p for key, p in reference.student.named_parameters() if p.requires_grad}
    assert ours.keys() == theirs.keys()
    for key, parameter in ours.items():
        torch.testing.assert_close(parameter, theirs[key], rtol=1e-3, atol=1e-4, msg=key)


def test_other_work_is_not_timed(tmp_path: Path) -> None:
    bench = Bench(QUICK, tmp_path, torch.device("cpu"))
    bench.centres = bench.centres.roll(1, dims=0)
    with pytest.raises(RuntimeError, match="not the same work"):
        check_same_work(bench, QUICK.branch, tolerance=1e-3)


@pytest.mark.nightly
def test_a_case_prints_and_writes_its_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        main(["--quick", "--only", "memory", "--threads", "1", "--output", str(tmp_path / "memory.json")])
    finally:
        torch.set_num_threads(threads)
    [rows] = [
        value for key, value in json.loads((tmp_path / "memory.json").read_text()).items() if key != "machine"
    ]
    assert [row["step"] for row in rows] == ["reference", "ours", "ours, compiled"]
    assert rows[1]["state MB"] < rows[0]["state MB"]
    assert "ours, compiled" in capsys.readouterr().out


@pytest.mark.nightly
def test_heads_share_the_classes(tmp_path: Path) -> None:
    head_scaling(["--quick", "--rounds", "2", "--output", str(tmp_path / "head.json")])
    [rows] = [
        value for key, value in json.loads((tmp_path / "head.json").read_text()).items() if key != "machine"
    ]
    megabytes = {(row["centres"], row["ranks"]): row["centres MB"] for row in rows}
    for kind in ("frozen", "learnt"):
        assert megabytes[kind, 2] == megabytes[kind, 1] / 2
