"""Every evaluation command on a miniature, from models that a training run wrote, to the page of the report."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import miniatures
from btnet.cli import main

ROOT = Path(__file__).parents[2]
PAIRS = "32-32,32-8,8-8"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each door of `eval/` wrote; the files lie below its `folder`."""
    folder = tmp_path_factory.mktemp("trained")
    models = miniatures.trained_models(folder / "runs")
    three = [models["phi_bt"], "--high-resolution", models["phi_hr"], "--phi-mm", models["phi_8"]]
    pairs, images = miniatures.lfw(folder / "xqlfw")
    survface = miniatures.survface(folder / "survface")
    commands: dict[str, list[object]] = {
        "verification": ["--bin", miniatures.bin_sets(folder / "bin"), "--pairs", PAIRS],
        "xqlfw": ["--pairs-file", pairs, "--root", images, "--pairs", f"{PAIRS},native-native"],
        "ijbc": ["--root", miniatures.ijb(folder / "IJBC"), "--pairs", PAIRS, "--roc", folder / "roc.png"],
        "survface": ["--root", survface],
        "survface_verification": ["--root", survface, "--task", "verification"],
        "tinyface": ["--root", miniatures.tinyface(folder / "tinyface")],
        "scface": ["--root", miniatures.scface(folder / "scface")],
    }
    written = {}
    for name, options in commands.items():
        door = {"xqlfw": "verification", "survface_verification": "survface"}.get(name, name)
        argv = [*three, *options, "--device", "cpu", "--output", folder / "results" / f"{name}.json"]
        if door != "verification":
            argv += ["--features", folder / "features"]
        _through_the_door(door, argv)
        written[name] = json.loads((folder / "results" / f"{name}.json").read_text())
    written["folder"] = {"path": folder}
    return written


def _through_the_door(name: str, argv: list[object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, argv)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "eval" / f"{name}.py"), run_name="__main__")
    assert left.value.code == 0


def by_key(content: dict[str, Any], *keys: str) -> dict[tuple[str, ...], dict[str, Any]]:
    [found] = content["sets"]
    return {tuple(str(entry[key]) for key in keys): entry for entry in found["results"]}


def test_trained_models_tell_strangers_apart_in_every_set(results: dict[str, dict[str, Any]]) -> None:
    assert [found["name"] for found in results["verification"]["sets"]] == ["agedb_30", "cfp_fp", "lfw"]
    for found in results["verification"]["sets"]:
        accuracy = {(e["model"], tuple(e["pair"])): e["accuracy"] for e in found["results"]}
        assert accuracy["phi_hr", (32, 32)] > 0.6
        # phi_bt is this trunk with a branch, and phi_mm is phi_hr where there is nothing low.
        for model in ("phi_bt", "phi_mm"):
            assert accuracy[model, (32, 32)] == accuracy["phi_hr", (32, 32)]


def test_templates_and_searches_do_better_than_chance(results: dict[str, dict[str, Any]]) -> None:
    ijbc = by_key(results["ijbc"], "model", "pair")
    assert ijbc["phi_hr", "[32, 32]"]["ijb_1n"]["rank"]["1"] > 1 / miniatures.PEOPLE
    assert ijbc["phi_bt", "[32, 32]"]["tar_at_far"] == ijbc["phi_hr", "[32, 32]"]["tar_at_far"]
    assert ijbc["phi_hr", "[32, 32]"]["gain"] == dict.fromkeys(("tar_at_far", "tpir", "tpir_standard"))
    scface = by_key(results["scface"], "model", "probes")
    assert scface["phi_hr", "probe_d3"]["rank"]["1"] > 1 / miniatures.PEOPLE
    tinyface = by_key(results["tinyface"], "model")
    assert tinyface["phi_bt",]["map"] > 0.2
    survface = by_key(results["survface_verification"], "model", "strategy")
    assert len(survface) == 3 * 9
    assert survface["phi_bt", "max+ceil"]["auc"] > 0.5


def test_every_result_says_what_was_measured_with_what(results: dict[str, dict[str, Any]]) -> None:
    for name, content in results.items():
        if name == "folder":
            continue
        assert content["interpolation"] == "bilinear", name
        assert set(content["versions"]) >= {"btnet", "torch", "numpy"}, name
        assert [model["name"] for model in content["models"]] == ["phi_hr", "phi_mm", "phi_bt"], name
        for model in content["models"]:
            networks = model["networks"].values()
            assert networks, name
            assert all(re.fullmatch("[0-9a-f]{64}", each["fingerprint"]) for each in networks), name
        for found in content["sets"]:
            assert re.fullmatch("[0-9a-f]{64}", found["sha256"]), name


def test_roc_curves_of_templates_are_drawn_for_each_pair(results: dict[str, dict[str, Any]]) -> None:
    for pair in PAIRS.split(","):
        picture = results["folder"]["path"] / f"roc_{pair}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_report_shows_all_of_them_on_one_page(results: dict[str, dict[str, Any]]) -> None:
    folder = results["folder"]["path"]
    page = folder / "report.html"
    assert main(["report", str(folder / "results"), "-o", str(page)]) == 0
    html, markdown = page.read_text(encoding="utf-8"), page.with_suffix(".md").read_text(encoding="utf-8")
    for title in (
        "1:1 verification",
        "IJB-C",
        "QMUL-SurvFace 1:N",
        "QMUL-SurvFace 1:1",
        "TinyFace",
        "SCFace",
    ):
        assert f"<h2>{title}</h2>" in html
    assert "faces_by_resolution" not in html  # counts, no rates
    for scorer in ("exact", "1000 thresholds"):
        assert f"### QMUL-SurvFace 1:N, {scorer}: TPIR20 and AUC, % (Table 3)" in markdown
    # Table 2: the average of the sets, each model's accuracy beside its gain.
    # Without phi_mr there is none across resolutions.
    for kind, columns in (
        ("cross-resolution", "| 32&8 acc., % |\n"),
        ("same resolution", "| 8&8 acc., % | 8&8 gain |"),
    ):
        table = re.search(rf"### Accuracy, {kind}.*?\n\n(.*?)\n\n", markdown, re.DOTALL)
        assert table is not None
        assert columns in table[1]
        rows = table[1].splitlines()[2:]
        assert [row.split("|")[1].strip() for row in rows] == ["phi_hr", "phi_mm", "phi_bt"]
