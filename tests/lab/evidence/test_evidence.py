"""A whole evidence run on rendered faces and a tiny trunk: resumed, reported, and refused for other faces."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from btnet.data.record_faces import RecordFaces
from btnet.images.codec import encode_png
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.cli import main
from btnet_lab.evidence.faces import Source, prepare
from btnet_lab.evidence.plan import Plan, Row
from btnet_lab.evidence.runner import Runner
from tiny_models import tiny_trunk

ROOT = Path(__file__).parents[3]
PEOPLE, IMAGES = 32, 3


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk and folders of faces, as a user has them."""
    folder = tmp_path_factory.mktemp("given")
    faces = SyntheticFaces(PEOPLE, IMAGES)
    for i in range(len(faces)):
        image, label = faces[i]
        path = folder / "faces" / f"person{label}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(image))
    torch.save(tiny_trunk().state_dict(), folder / "model.pt")
    return folder


SMALL = ["num_epoch=1", "compile=False", "batch_size=8", "num_workers=0", "device=cpu"]


def evidence(given: Path, output: Path, *more: str) -> int:
    options = ["--trunk", str(given / "model.pt"), "--faces", str(given / "faces"), "--output", str(output)]
    # An untrained trunk tells nobody apart: nothing is too close.
    options += ["--too-close", "1.1", "--configs", str(ROOT / "configs")]
    return main(["evidence", *options, *(part for text in SMALL for part in ("--set", text)), *more])


@pytest.fixture(scope="module")
def done(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that ended."""
    folder = tmp_path_factory.mktemp("done")
    assert evidence(given, folder) == 0
    return folder


@pytest.mark.nightly
def test_an_evidence_run_trains_measures_and_reports_and_a_second_one_finds_it_done(
    given: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    names = {path.stem for path in (tmp_path / "results").glob("*.json")}
    assert names == {"hr-s1", "bt_r28-s1", "bt_r14-s1", "bt_r7-s1"}
    result = json.loads((tmp_path / "results" / "bt_r14-s1.json").read_text())
    assert [entry["pair"] for entry in result["sets"][0]["results"]] == [[112, 112], [112, 14], [14, 14]]
    assert str(given) not in json.dumps(result)
    assert result["evidence"]["cost"]["num_images"] > 0
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| phi_bt |" in page
    assert "| phi_bt (paper) |" in page
    about = json.loads((tmp_path / "results" / "about" / "about.json").read_text())
    assert {found["pair"] for found in about["comparisons"]} == {f"112&{r}" for r in (28, 14, 7)} | {
        f"{r}&{r}" for r in (28, 14, 7)
    }
    figures = sorted((tmp_path / "results" / "figures").glob("*.json"))
    assert [path.stem for path in figures] == [
        "architecture",
        "costs",
        "folds",
        "maps",
        "selection",
        "upsampling",
    ]
    assert not any(str(given) in path.read_text() or "person" in path.read_text() for path in figures)
    whole = (tmp_path / "RESULTS.html").read_text()
    assert "Fig. 1:" not in whole  # a mean over a hundred faces, and here are fewer
    for told in ("Beside fig. 1", "Fig. 3", "Figs. 4 and 5", "Fig. 6", "Fig. 8", "Fig. 9", "Fig. 10"):
        assert f"{told}:" in whole
    measured = [path.stat().st_mtime_ns for path in figures]
    written = (tmp_path / "results" / "bt_r14-s1.json").stat().st_mtime_ns
    capsys.readouterr()

    assert evidence(given, tmp_path) == 0
    assert capsys.readouterr().out.count(": done (") == 4
    assert (tmp_path / "results" / "bt_r14-s1.json").stat().st_mtime_ns == written
    assert [path.stat().st_mtime_ns for path in figures] == measured

    assert evidence(given, tmp_path, "--set", "lr=0.02", "--status") == 0
    assert "bt_r14-s1" in capsys.readouterr().out

    (tmp_path / "results" / "bt_r7-s1.json").unlink()
    assert evidence(given, tmp_path, "--so-far") == 0
    assert not (tmp_path / "results" / "bt_r7-s1.json").exists()
    assert "3 result files" in (tmp_path / "RESULTS.md").read_text()

    assert evidence(given, tmp_path, "--seed", "1") == 2
    assert "choose another folder" in capsys.readouterr().err


@pytest.mark.nightly
def test_what_was_measured_elsewhere_is_not_run_again(
    given: Path, done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(done / "results", tmp_path / "a" / "results")
    (tmp_path / "a" / "results" / "bt_r7-s1.json").unlink()
    known = ("--known", str(tmp_path / "a" / "results"))
    capsys.readouterr()

    assert evidence(given, tmp_path / "b", *known) == 0
    assert capsys.readouterr().out.count(": done (measured elsewhere)") == 3
    assert not (tmp_path / "b" / "runs" / "bt_r14-s1").exists()
    [first, second] = [(tmp_path / part / "results" / "bt_r14-s1.json").read_text() for part in "ab"]
    assert first == second
    about = json.loads((tmp_path / "b" / "results" / "about" / "about.json").read_text())
    assert len(about["comparisons"]) == 6

    assert evidence(given, tmp_path / "c", *known, "--only", "bt_r14", "--set", "lr=0.02") == 0
    assert (tmp_path / "c" / "runs" / "bt_r14-s1").exists()

    assert evidence(given, tmp_path / "d", "--only", "bt_r14-s2") == 2
    assert "bt_r14-s2: the plan has no such rows" in capsys.readouterr().err
    assert evidence(given, tmp_path / "d", "--full", "--only", "bt_swa-s1") == 2
    assert "--only bt_swa: averaging was removed" in capsys.readouterr().err
    assert evidence(given, tmp_path / "d", "--only", "bt_r15") == 2
    assert "bt_r15: the plan has no such rows" in capsys.readouterr().err


def test_nothing_measured_is_no_page(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evidence(given, tmp_path, "--so-far") == 2
    assert "nothing is measured there yet" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


def test_people_to_test_on_are_never_trained_on(given: Path, tmp_path: Path) -> None:
    sets = prepare(Source(given / "model.pt", given / "faces", too_close=1.1), tmp_path)
    about = sets.about()
    trained = set(RecordFaces(sets.rec("train")).class_names)
    assert trained | set(about["test"]["people"]) == {f"person{i}" for i in range(PEOPLE)}
    assert not trained & set(about["test"]["people"])
    part = set(RecordFaces(sets.rec("part")).class_names)
    assert part | set(about["choice"]["people"]) == trained
    assert not part & set(about["choice"]["people"])
    smaller = [set(RecordFaces(sets.rec(f"train_1of{n}")).class_names) for n in (2, 4)]
    assert smaller[1] < smaller[0] < trained


@pytest.mark.nightly
def test_models_of_a_plan_meet_photographed_faces_and_cameras(
    given: Path, done: Path, tmp_path: Path
) -> None:
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    rows = [
        Row("hr", {"table2": "phi_hr"}, config=""),
        *(Row(f"bt_r{r}", {"table2": "phi_bt"}, resolution=r) for r in (14, 7)),
    ]
    plan = Plan(rows, native={"phi_hr": ["hr"], "phi_bt": ["bt_r14", "bt_r7"]})
    source = Source(given / "model.pt", given / "faces", too_close=1.1)
    runner = Runner(source, plan, tmp_path, configs=ROOT / "configs", overrides=SMALL)
    for _ in range(2):
        assert runner.run()
    runner.sum_up()
    found = json.loads((runner.at.results / "native" / "native.json").read_text())
    assert [model["name"] for model in found["models"]] == ["phi_hr", "phi_bt"]
    assert str(tmp_path) not in json.dumps(found)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "## Photographed small faces" in page
    whole = (tmp_path / "RESULTS.html").read_text()
    assert "<h2>Native test" in whole
    assert "<h2>A BN set per camera" in whole
