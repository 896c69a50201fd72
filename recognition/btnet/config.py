"""Load a configuration: a fresh object over `base.py`, unknown keys and wrong types refused."""

from __future__ import annotations

import ast
import copy
import difflib
import runpy
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from easydict import EasyDict

BASE = "base.py"
_LARGEST: Final = sys.float_info.max
_SHOWN: Final = 200  # characters of a value, in messages
FOLDER: Final = Path("configs")

# What other code bases call a key, where the spelling is too far away to be guessed.
_ELSEWHERE: Final = {"data": "rec", "dataset": "rec", "learning_rate": "lr", "epochs": "num_epoch"}


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> EasyDict:
    """Read an experiment's file over the one it is `like`, if it names one, and over the `base.py` in its folder.

    Args:
        path: a Python file that makes `config = EasyDict()` and sets what differs; `.py` may be left out.
            `configs/NAME` is looked for here first, then among those of the package (`packaged_configs`).
        overrides: `key=value` texts; the value is read as a Python literal, else as a string.

    Returns:
        A new object with every key of the base. `name` is the file's name; nothing else is derived.

    Raises:
        FileNotFoundError: if the file or its base is missing.
        ValueError: for an unknown key, a value of the wrong type, or an override that is no `key=value`.
    """
    file = _find(Path(path))
    base_file = file.parent / BASE
    if not base_file.is_file():
        raise FileNotFoundError(
            f"{base_file}: every config needs a base beside it; copy configs/base.py there, or have "
            "`btnet configs FOLDER` write it"
        )
    base = _run(base_file)
    config = EasyDict(copy.deepcopy(base))
    for parent in reversed(_ancestors(file, base_file)):
        _merge(config, _run(parent), base, str(parent))
    for text in overrides:
        _merge(config, dict([_parse(text)]), base, f"--set {text[:_SHOWN]}")
    config.name = file.stem
    if not config.output:
        config.output = str(Path("runs") / file.stem)
    return config


def packaged_configs() -> Path:
    """The folder of this package's own configs: within a wheel in the package, in a checkout beside it."""
    package = Path(__file__).parent
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parents[1] / FOLDER


def _find(path: Path) -> Path:
    folders = [path.parent, packaged_configs()] if path.parent == FOLDER else [path.parent]
    for folder in folders:
        for candidate in (folder / path.name, folder / f"{path.name}.py"):
            if candidate.is_file():
                return candidate
    others = sorted({p.stem for folder in folders for p in folder.glob("*.py")})
    near = difflib.get_close_matches(path.stem, others, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise FileNotFoundError(f"{path}: no such config{hint}")


def _ancestors(file: Path, base_file: Path) -> list[Path]:
    """The file, the one it is like, and so on; without the base."""
    found: list[Path] = []
    while file != base_file:
        if file in found:
            raise ValueError(f"{found[0]}: is like itself, by way of {', '.join(f.stem for f in found)}")
        found.append(file)
        like = _run(file).get("like", "")
        file = _find(file.parent / like) if like else base_file
    return found


def _run(file: Path) -> dict[str, Any]:
    names = runpy.run_path(str(file))
    if not isinstance(names.get("config"), Mapping):
        raise ValueError(f"{file}: does not define `config = EasyDict()`")
    return dict(names["config"])


def _parse(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {text[:_SHOWN]}: expected key=value, such as lr=0.02")
    try:
        return key.strip(), ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two: nested too deep
        return key.strip(), value


def _merge(config: EasyDict, values: Mapping[str, Any], base: Mapping[str, Any], where: str) -> None:
    for key, value in values.items():
        if key not in base:
            near = (
                [_ELSEWHERE[key]]
                if key in _ELSEWHERE
                else difflib.get_close_matches(key, base, 1, cutoff=0.4)
            )
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{where}: unknown key {key[:_SHOWN]!r}{hint}")
        config[key] = _checked(key, value, base[key], where)


def _checked(key: str, value: Any, default: Any, where: str) -> Any:
    if default is None:
        fits = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        expected = "a number or None"
    elif isinstance(default, bool):
        fits, expected = isinstance(value, bool), "True or False"
    elif isinstance(default, float):
        fits, expected = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
        fits = fits and abs(value) < _LARGEST
        value = float(value) if fits else value
    elif isinstance(default, int):
        fits = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63
        expected = "a whole number"
    elif isinstance(default, (list, tuple)):
        fits, expected = isinstance(value, (list, tuple)), "a list"
        value = list(value) if fits else value
    elif isinstance(default, Mapping):
        fits, expected = isinstance(value, Mapping), "a dict"
    else:
        fits, expected = isinstance(value, str), "a text"
    if not fits:
        raise ValueError(f"{where}: {key} = {_shown(value)}, expected {expected} such as {default!r}")
    return value


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except (ValueError, RecursionError):  # a number of thousands of digits, a list nested too deep
        return f"a {type(value).__name__}"
