from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from btnet.method.btnet import BTNet
from btnet.model_folder.model_files import record_files
from btnet_lab.report.identity import same_place
from btnet_lab.report.results import find_results, number, pair_label, read_results
from role_models import RESOLUTION, network, save_branch


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"task": "verifi', "not valid JSON"),
        ([1, 2], "expected a JSON object"),
        ({"task": "x"}, "entry 'sets' is missing"),
        ({"task": 3, "sets": []}, "entry 'task' is missing or no str"),
        ({"task": "x", "sets": [3]}, "'sets' is not a list of objects"),
        ({"task": "x", "sets": [{"name": "s", "results": {}}]}, "'results' is not a list of objects"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "x.json", content)
    with pytest.raises(ValueError, match=message) as error:
        read_results(path)
    assert str(path) in str(error.value)


def test_folders_stand_for_their_results_and_manifests_are_none(tmp_path: Path) -> None:
    one = write(tmp_path / "demo" / "phi_hr" / "results" / "set.json", {"results": []})
    two = write(tmp_path / "demo" / "all.json", {"task": "x", "sets": []})
    write(tmp_path / "demo" / "btnet.json", {})
    write(tmp_path / "demo" / "phi_hr" / "other.json", {})
    assert find_results([tmp_path / "demo", two]) == [two, one]
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        find_results([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no result in it"):
        find_results([tmp_path / "empty"])


def test_what_a_training_run_writes_gets_its_names_from_the_folder(tmp_path: Path) -> None:
    save_branch(tmp_path / "run7")
    entry = {"pair": "112&14", "accuracy": 0.9, "std": 0.1}
    content = {"step": 3, "interpolation": "area", "results": [entry]}
    file = read_results(write(tmp_path / "run7" / "results" / "lfw.json", content))
    assert (file.task, file.interpolation) == ("verification", "area")
    assert file.sets[0].name == "lfw"
    assert file.sets[0].sha256 is None
    assert file.sets[0].results == [{"model": "phi_bt", **entry}]
    assert file.identity_of("phi_bt").path == str((tmp_path / "run7").resolve())


def test_a_run_under_way_says_what_its_model_and_its_set_are(tmp_path: Path) -> None:
    about = {
        "name": "x",
        "role": "phi_bt",
        "kind": "branches",
        "canonical_size": 112,
        "resolutions": [112, 28, 14],
    }
    content = {
        "step": 3,
        "interpolation": "area",
        "model": about,
        "set": "lfw",
        "sha256": "ab",
        "results": [],
    }
    file = read_results(write(tmp_path / "elsewhere" / "results" / "copy.json", content))
    identity = file.identity_of("phi_bt")
    assert (identity.role, identity.kind, identity.own) == ("phi_bt", "branches", frozenset((28, 14)))
    assert (file.sets[0].name, file.sets[0].sha256, file.in_training) == ("lfw", "ab", True)


def test_models_are_called_by_their_roles_where_the_file_says_them(tmp_path: Path) -> None:
    def about(name: str, role: str | None) -> dict[str, Any]:
        return {"name": name, "role": role, "kind": "trunk", "canonical_size": 112, "resolutions": [112]}

    models = [about("downloads", "phi_hr"), about("a", "phi_bt"), about("b", "phi_bt"), about("c", None)]
    results = [{"model": model["name"], "auc": 0.5} for model in models]
    content = {"task": "tinyface", "models": models, "sets": [{"name": "s", "results": results}]}
    file = read_results(write(tmp_path / "x.json", content))
    assert [entry["model"] for entry in file.sets[0].results] == ["phi_hr", "a", "b", "c"]
    assert file.identity_of("a").role == "phi_bt"
    assert file.identity_of("phi_hr").own == frozenset()


def test_results_of_a_former_model_are_not_shown_as_those_of_the_new(tmp_path: Path) -> None:
    run, content = tmp_path / "run", {"step": 3, "interpolation": "area", "results": []}

    def train(*measured: str) -> None:
        BTNet(network(), (RESOLUTION,)).save(run, config={})
        record_files(run, [write(run / "results" / f"{name}.json", content) for name in measured])

    train("lfw", "cfp")
    assert [path.stem for path in find_results([run])] == ["cfp", "lfw"]
    train("lfw")
    assert [path.stem for path in find_results([run])] == ["lfw"]
    stale = write(run / "results" / "cfp.json", content)  # as a folder of an early version has them
    named = write(run / "results" / "mine.json", {**content, "task": "verification", "sets": []})
    with pytest.warns(UserWarning, match=r"cfp\.json: not measured of the model that lies in run now"):
        assert [path.stem for path in find_results([run])] == ["lfw", "mine"]
    with pytest.raises(ValueError, match=r"cfp\.json: not measured of the model"):
        read_results(stale)
    assert read_results(named).task == "verification"
    changed = write(run / "results" / "lfw.json", {**content, "step": 4})
    with pytest.raises(ValueError, match=r"lfw\.json: not the file that btnet\.json lists"):
        read_results(changed)


def test_only_finite_numbers_are_numbers() -> None:
    assert number(0.5) == 0.5
    assert all(number(value) is None for value in (None, "0.5", True, float("nan"), float("inf"), 10**400))
    assert pair_label([112, None]) == "112&native"
    assert pair_label("14&14") == "14&14"
    assert same_place("runs/a", "/home/x/runs/a")
    assert not same_place("runs/a", "/home/x/runs/b")
