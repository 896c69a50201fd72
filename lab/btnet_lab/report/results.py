"""Result files: what `btnet evaluate` and its like, and training runs, leave behind as JSON."""

from __future__ import annotations

import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from btnet.evaluation.rates import is_measurable
from btnet.files.text import is_whole, naming, read_json
from btnet.model_folder import manifest
from btnet.model_folder.model_files import is_listed
from btnet.serving import verify
from btnet.serving.verification_report import PROTOCOL
from btnet_lab.report.identity import Identity, identity_of

NOT_MEASURED = (
    "- at a rate: fewer than 1 / rate impostors in the set cannot measure it, or a model has no number."
)
_HEAD = {"task": str, "sets": list}
_WRITTEN_BY = "expected what `btnet evaluate ... --output` or a training run writes"


@dataclass(frozen=True, eq=False)
class ResultSet:
    """Results on one data set.

    Attributes:
        name: of the set.
        sha256: of its file; None where a training run did not record it.
        facts: what else was recorded: num_pairs, num_same ...
        results: one entry per model and setting, as written: "model", and names with numbers.
    """

    name: str
    sha256: str | None
    facts: dict[str, Any]
    results: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class ResultFile:
    """One result file.

    Attributes:
        path: of the file.
        task: "verification", "survface" ...
        protocol: in words.
        interpolation: how faces were resized.
        models: as written: "name", "path", "networks" with fingerprints.
        sets: results by data set.
        versions: of the libraries.
        in_training: written by a training run on its way: a result of the finished model counts before it.
    """

    path: Path
    task: str
    protocol: str
    interpolation: str
    models: list[dict[str, Any]]
    sets: list[ResultSet]
    versions: dict[str, str]
    in_training: bool = False

    def identity_of(self, model: object) -> Identity:
        """What the model of this name is; its name alone where the file does not say."""
        about = next((each for each in self.models if each.get("name") == model), {"name": str(model or "")})
        return identity_of(about)


def find_results(paths: Iterable[str | Path]) -> list[Path]:
    """Result files among files and folders, each once.

    A folder stands for the `*.json` in it and in every `results` folder below it; manifests are skipped, and
    results of an earlier model in the same run folder are left out, with a warning.

    Raises:
        FileNotFoundError: if a path does not exist, or a folder holds no result.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_file():
            found[path] = None
            continue
        if not path.is_dir():
            raise FileNotFoundError(
                f"{path}: no such file or folder; give result files (.json) or run folders"
            )
        inside = [p for p in sorted(path.glob("*.json")) if p.name != manifest.NAME]
        inside += sorted(p for p in path.glob("**/results/*.json") if p not in inside and _current(p))
        if not inside:
            raise FileNotFoundError(
                f"{path}: no result in it (no *.json there, none in a folder `results` below); "
                "write one with btnet evaluate --output"
            )
        found |= dict.fromkeys(inside)
    return list(found)


def read_results(path: Path) -> ResultFile:
    """Read and check one result file.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged or no result file; the message names file and entry.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such result file")
    content = read_json(path)
    if "task" not in content and isinstance(content.get("results"), list):
        return _of_training(path, content)
    for key, kind in _HEAD.items():
        if not isinstance(content.get(key), kind):
            raise ValueError(
                f"{path}: no result file (entry {key!r} is missing or no {kind.__name__}); {_WRITTEN_BY}"
            )
    models = [_model(path, entry) for entry in _dicts(path, "models", content.get("models", []))]
    sets = [_set(path, entry) for entry in _dicts(path, "sets", content["sets"])]
    _call_by_role(models, sets)
    return ResultFile(
        path=path,
        task=content["task"],
        protocol=_words(content.get("protocol", "")),
        interpolation=str(content.get("interpolation", "")),
        models=models,
        sets=sets,
        versions={
            key: str(value) for key, value in _object(path, "versions", content.get("versions")).items()
        },
    )


def _current(path: Path) -> bool:
    """Whether a result in a run folder is of the model that the folder holds now; if not, a warning."""
    content = read_json(path)
    try:
        _check_current(path, content)
    except ValueError as error:
        warnings.warn(f"{error}; left out", stacklevel=3)
        return False
    return True


def _check_current(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse results of an earlier model in the same folder: they would be shown under the new one's name.

    Files that name their model are shown, and so are those of folders whose manifest lists no results: of early
    versions, or not written by a training.
    """
    run = path.resolve().parent.parent
    if "task" in content or not (run / manifest.NAME).is_file():
        return
    lists = {"files", "config"} <= set(manifest.read_manifest(run))
    if not is_listed(run, path.resolve()) and lists:
        raise ValueError(f"{path}: not measured of the model that lies in {run.name} now; remove it")


def number(value: object) -> float | None:
    """A finite number, or None: what tables show as "-"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond 1e308
        return None
    return found if math.isfinite(found) else None


def pair_label(pair: object) -> str:
    """As the paper writes a pair of resolutions: [112, 14] -> "112&14"; null is a native size."""
    return verify.pair_label(pair) if isinstance(pair, list) else str(pair)


def sides_of(label: str) -> list[int]:
    """The sizes in px that a pair's label stands for, both in order; 0 for a native size."""
    return [int(side) if is_whole(side) else 0 for side in label.split("&")]


def _words(protocol: object) -> str:
    """A protocol in words, or by option: {"norm": false, "flip": true} -> "norm false, flip true"."""
    if isinstance(protocol, Mapping):
        return ", ".join(f"{key} {_value(value)}" for key, value in protocol.items())
    return str(protocol)


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"({_words(value)})"
    return value if isinstance(value, str) else json.dumps(value)


def _set(path: Path, entry: Mapping[str, Any]) -> ResultSet:
    facts = {key: value for key, value in entry.items() if key not in ("name", "sha256", "results")}
    results = _dicts(path, "results", entry.get("results", []))
    for result in results:
        for key in ("tar_at_far", "tpir20"):
            rates = _object(path, key, result.get(key))
            with naming(path):
                list(map(float, rates))
    digest = entry.get("sha256")
    return ResultSet(
        str(entry.get("name", path.stem)),
        str(digest) if digest else None,
        facts,
        [_measurable_rates(result, facts) for result in results],
    )


def _measurable_rates(result: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The result without rates that its set cannot carry, which older files have numbers for."""
    pairs, same = number(facts.get("num_pairs")), number(facts.get("num_same"))
    impostors = number(result.get("num_impostors"))
    if impostors is None and pairs is not None and same is not None:
        impostors = pairs - same
    kept = dict(result)
    for key, count in (("tar_at_far", impostors), ("tpir20", number(result.get("num_unmated")))):
        if count is not None and isinstance(result.get(key), dict):
            kept[key] = {
                rate: value if is_measurable(float(rate), int(count)) else None
                for rate, value in result[key].items()
            }
    return kept


def _call_by_role(models: Iterable[dict[str, Any]], sets: Iterable[ResultSet]) -> None:
    """Let models be called by the roles that they have alone in the file; names may be those of files and folders."""
    roles = Counter(str(model.get("role") or model.get("name")) for model in models)
    called: dict[Any, str] = {}
    for model in models:
        role = model.get("role")
        if role and roles[str(role)] == 1:
            called[model.get("name")] = model["name"] = str(role)
    for entry in (entry for each in sets for entry in each.results):
        if isinstance(entry.get("model"), str) and entry["model"] in called:
            entry["model"] = called[entry["model"]]


def _model(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**entry, "networks": _object(path, "networks", entry.get("networks"))}


def _object(path: Path, key: str, value: object) -> dict[str, Any]:
    """Empty where there is none."""
    if value is not None and not isinstance(value, dict):
        raise ValueError(
            f"{path}: entry {key!r} is a {type(value).__name__}, expected an object; {_WRITTEN_BY}"
        )
    return value or {}


def _dicts(path: Path, key: str, value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"{path}: entry {key!r} is not a list of objects; {_WRITTEN_BY}")
    return value


def _of_training(path: Path, content: Mapping[str, Any]) -> ResultFile:
    """RUN/results/SET.json: what it does not say of model and set stands in the manifest, else in the path."""
    _check_current(path, content)
    folder = path.resolve().parent.parent
    about = {"name": folder.name, **_object(path, "model", content.get("model"))}
    trained_with: dict[str, str] = {}
    if (folder / manifest.NAME).is_file():
        found = manifest.read_manifest(folder)
        about["role"] = about.get("role") or found.get("role")
        trained_with = dict(found.get("versions") or {})
    name = str(about.get("role") or about["name"])
    digest = content.get("sha256")
    results = _dicts(path, "results", content["results"])
    return ResultFile(
        path=path,
        task="verification",
        protocol=PROTOCOL,
        interpolation=str(content.get("interpolation", "")),
        models=[{**about, "name": name, "path": str(folder)}],
        sets=[
            ResultSet(
                str(content.get("set") or path.stem),
                str(digest) if digest else None,
                {},
                [{"model": name, **entry} for entry in results],
            )
        ],
        versions=trained_with,
        in_training=True,
    )
