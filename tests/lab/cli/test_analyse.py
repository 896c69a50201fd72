"""`btnet-lab analyse` and `model-cost --output`: pictures, and numbers in their tables."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from btnet_lab.cli import main
from btnet_lab.cli.analyse import _ANALYSES
from role_models import save_branch, save_native, save_trunk

ROOT = Path(__file__).parents[3]


def table(picture: Path) -> list[dict[str, str]]:
    with open(picture.with_suffix(".csv"), newline="") as file:
        return list(csv.DictReader(file))


def analyse(*words: object) -> int:
    return main(["analyse", *map(str, words)])


def test_costs_in_the_table_are_the_reference_s(tmp_path: Path) -> None:
    assert main(["model-cost", "r50", "-o", str(tmp_path / "cost.svg")]) == 0
    rows = {int(row["resolution_px"]): row for row in table(tmp_path / "cost.svg")}
    gflops = {r: round(int(row["flops"]) / 1e9, 2) for r, row in rows.items()}
    assert gflops == {112: 12.62, 56: 11.87, 28: 10.47, 14: 8.55, 7: 3.03}
    authors = {r: round(int(rows[r]["learnt_authors"]) / 1e6, 4) for r in (28, 14, 7)}
    assert authors == {28: 0.4881, 14: 2.2915, 7: 21.3018}
    assert int(rows[14]["learnt"]) == 2293056
    assert (tmp_path / "cost.svg").read_text().startswith("<?xml")


def test_models_and_faces_give_pictures_and_tables(tmp_path: Path) -> None:
    hr, bt, mm = save_trunk(tmp_path / "hr"), save_branch(tmp_path / "bt"), save_native(tmp_path / "mm")
    maps = tmp_path / "maps.png"
    words = ("feature-maps", hr, mm, bt, "--high-resolution", hr, "--faces", "synthetic:2:1", "-o", maps)
    assert analyse(*words) == 0
    assert maps.read_bytes().startswith(b"\x89PNG")
    rows = table(maps)
    assert len(rows) == 4 * 4  # phi_hr at 112 for comparison, then three models; four stages each
    assert [row["view_px"] for row in rows[::4]] == ["112", "14", "14", "14"]

    levels = tmp_path / "pyramids.png"
    assert analyse("pyramids", bt, "--faces", "synthetic:2:1", "--index", 1, "-o", levels) == 0
    assert [row["branch_mse"] != "" for row in table(levels)] == [False, False, True, False]


def test_errors_of_enlarging_are_told_by_resolution(tmp_path: Path) -> None:
    picture = tmp_path / "up.png"
    words = ("--faces", "synthetic:100:1", "--smallest", 10, "--step", 50, "-o", picture)
    assert analyse("upsampling-error", *words) == 0
    assert [row["resolution_px"] for row in table(picture)] == ["10", "60", "110", "112"]
    bounds = [float(row["error_bound_relative_to_full_size"]) for row in table(picture)]
    assert bounds[0] > 2
    assert bounds[-1] == pytest.approx(1)
    few = ("--faces", "synthetic:4:1", "--num-images", 4, "--smallest", 10, "--step", 50, "-o", picture)
    assert analyse("down-up-error", *few) == 0
    errors = [float(row["rmse_grey_levels"]) for row in table(picture)]
    assert errors[0] > errors[1] > errors[-1] == 0


def test_selection_map_and_architecture_are_written(tmp_path: Path) -> None:
    assert analyse("selection-map", "--max-size", 3, "-o", tmp_path / "s.png") == 0
    assert len(table(tmp_path / "s.png")) == 9 * 9
    assert analyse("architecture", "r18", "--resolutions", 14, "-o", tmp_path / "a.png") == 0
    assert {row["resolution_px"] for row in table(tmp_path / "a.png")} == {"112", "14"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("selection-map", "-o", "x.gif"), "pictures are written as .png or .svg"),
        (("upsampling-error", "--faces", "synthetic:2:1"), "expected 1 to 2"),
        (("upsampling-error", "--num-images", "4"), "fig. 1 is a mean over 100"),
        (("down-up-error", "--interpolation", "cubic", "--num-images", "1"), "cubic"),
        (("architecture", "r51"), "did you mean r50"),
        (("pyramids", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_are_answered_in_a_line(
    words: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert analyse(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", _ANALYSES)
def test_every_analysis_has_a_door(name: str, monkeypatch: Any, capsys: Any) -> None:
    path = ROOT / "tools" / f"{name.replace('-', '_')}.py"
    assert importlib.util.spec_from_file_location("door", path) is not None
    assert f'main(["analyse", "{name}", *sys.argv[1:]])' in path.read_text()
    with pytest.raises(SystemExit) as stop:
        analyse(name, "--help")
    assert stop.value.code == 0
    assert "--output" in capsys.readouterr().out
