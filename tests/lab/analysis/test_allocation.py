from __future__ import annotations

import json
from pathlib import Path

import pytest

from btnet.method.overlay import Overlay
from btnet_lab.analysis.allocation import read_allocations, rows, stage_label
from role_models import RESOLUTION, network, save_branch, save_trunk

PAIRS = ("14&14", "112&14")


def run_with_results(folder: Path, tail_from: str | None, accuracy: float, sets: int = 1) -> Path:
    save_branch(folder, tail_from)
    (folder / "results").mkdir()
    for i in range(sets):
        results = [{"pair": pair, "accuracy": accuracy + 0.01 * i, "std": 0.0} for pair in PAIRS]
        content = {"step": 1, "interpolation": "bilinear", "results": results}
        (folder / "results" / f"set{i}.json").write_text(json.dumps(content))
    return folder


def test_runs_are_ordered_by_where_the_tail_starts_and_counted_from_their_overlays(tmp_path: Path) -> None:
    tails = {"c": None, "a": "layer2.0", "b": "layer4.0"}
    for order, (name, tail) in enumerate(tails.items()):
        run_with_results(tmp_path / name, tail, 0.8 + 0.02 * order, sets=2)
    found = read_allocations([tmp_path / name for name in tails])
    assert [Path(a.run).name for a in found] == ["a", "c", "b"]
    assert [a.stage for a in found] == ["Stage 1+", "Stage 3+", "layer4.0"] or found[
        1
    ].tail_from == "layer4.0"
    for a in found:
        overlay = Overlay.load(Path(a.run) / f"overlay_r{RESOLUTION}.safetensors")
        assert (a.num_stored, a.num_learnt) == (overlay.num_stored, overlay.num_learnt)
        assert a.num_trunk == sum(p.numel() for p in network().parameters())
        assert a.num_sets == dict.fromkeys(PAIRS, 2)
    assert found[0].accuracy["14&14"] == pytest.approx(0.82 + 0.005)
    assert [row["pair"] for row in rows(found)] == [*PAIRS] * 3


def test_stages_count_striding_units() -> None:
    units = network().units()
    assert stage_label(units, "layer2.0") == "Stage 1+"
    assert stage_label(units, "head") == "Stage 4+"
    assert stage_label(units, "layer1.0") == "layer1.0"


def test_results_of_evaluate_are_matched_by_path_not_by_name(tmp_path: Path) -> None:
    save_branch(tmp_path / "runs" / "one")
    save_branch(tmp_path / "runs" / "two", "layer2.0")
    models = [{"name": f"phi_bt ({n})", "path": f"runs/{n}"} for n in ("one", "two")]
    results = [
        {"model": model["name"], "pair": [112, 14], "accuracy": 0.5 + 0.1 * i}
        for i, model in enumerate(models)
    ]
    content = {"task": "verification", "models": models, "sets": [{"name": "s", "results": results}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    found = read_allocations([tmp_path / "runs" / "one", tmp_path / "runs" / "two"], [tmp_path / "x.json"])
    assert {Path(a.run).name: a.accuracy["112&14"] for a in found} == {"one": 0.5, "two": 0.6}


def test_runs_without_branch_or_result_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no branch in it"):
        read_allocations([save_trunk(tmp_path / "hr")])
    save_branch(tmp_path / "bt")
    with pytest.raises(FileNotFoundError, match="no result in it"):
        read_allocations([tmp_path / "bt"])
    content = {"task": "verification", "models": [], "sets": []}
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no accuracy at 14 px"):
        read_allocations([tmp_path / "bt"], [tmp_path / "x.json"])
