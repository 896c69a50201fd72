"""Load a configuration: a fresh object over `base.py`; what a run would not do as it says is refused."""

from __future__ import annotations

import ast
import copy
import difflib
import os
import runpy
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from easydict import EasyDict

from btnet.interop.arcface_config import from_arcface_torch
from btnet.training.configuration import KEYS, contradictions
from btnet.training.removed_keys import REMOVED, refuse_removed

BASE = "base.py"
_SHOWN: Final = 200  # characters of a value, in messages
FOLDER: Final = Path("configs")

# What other code bases call a key, where the spelling is too far away to be guessed.
_ELSEWHERE: Final = {"data": "rec", "dataset": "rec", "learning_rate": "lr", "epochs": "num_epoch"}


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> EasyDict:
    """Read an experiment's file over the one it is `like`, if it names one, and over the `base.py` in its folder.

    A configuration of arcface_torch is taken as it stands (`btnet.interop.arcface_config`); the log says which of its
    keys have no effect here.

    Args:
        path: a Python file that makes `config = EasyDict()` and sets what differs; `.py` may be left out.
            NAME and `configs/NAME` are looked for here first, then among those of the package (`packaged_configs`).
        overrides: `key=value` texts; the value is read as a Python literal, else as a string. `like=NAME` puts the
            file over another one than it names.

    Returns:
        A new object with every key of the base. `name` is the file's name; nothing else is derived.

    Raises:
        FileNotFoundError: if the file or its base is missing.
        ValueError: for an unknown key, a value of the wrong type or out of range, a key that is set and has no effect
            in the run (`btnet.training.configuration.KEYS`) or was removed, or an override that is no `key=value`.
    """
    run = cache(_run)  # each file once
    file = _find(Path(path))
    base_file = file.parent / BASE
    foreign = from_arcface_torch(file, run(file), run(base_file) if base_file.is_file() else {}, KEYS)
    if foreign is not None:
        base_file = packaged_configs() / BASE
    if not base_file.is_file():
        raise FileNotFoundError(
            f"{base_file}: every config needs a base beside it; copy configs/base.py there, or have "
            "`btnet configs -o FOLDER` write it"
        )
    layers = [(f"--set {text[:_SHOWN]}", "--set ", dict([_parse(text)])) for text in overrides]
    like = next((values["like"] for *_, values in reversed(layers) if "like" in values), None)
    parents = _ancestors(file, base_file, like, run) if foreign is None else [file]
    for parent in parents:
        layers.insert(0, (str(parent), f"{parent}: ", run(parent) if foreign is None else foreign))

    config = EasyDict(copy.deepcopy(_defaults()))
    _merge(config, run(base_file), str(base_file))
    if config.like:
        raise ValueError(f"{base_file}: like={config.like!r} has no effect in a base; leave it empty")
    base = dict(config)
    origins: dict[str, str] = {}
    for where, origin, values in layers:
        _merge(config, values, where)
        origins |= dict.fromkeys(values, origin)
    _refuse_what_has_no_effect(config, base, origins)
    config.name = file.stem
    config.output = config.output or str(Path("runs") / file.stem)
    return config


def complete_config(config: Mapping[str, Any]) -> EasyDict:
    """What a run needs of a configuration that was loaded, and may have been changed since.

    Returns:
        A copy, every value of it checked.

    Raises:
        ValueError: as `load_config`; and where the training set, or the trunk of branches, is not named.
    """
    found = EasyDict(copy.deepcopy(_defaults()))
    _merge(found, {key: value for key, value in config.items() if key != "name"}, "config")
    found.name = config.get("name", "")
    _refuse_what_has_no_effect(found, _defaults(), {})
    if not found.rec:
        raise ValueError("rec is empty: name the training set, as in --set rec=train.rec")
    if found.branches and not found.trunk:
        raise ValueError(
            f"branches={found.branches}: they need a pretrained trunk; set trunk=MODEL.pt or RUN_FOLDER"
        )
    return found


def unchanging(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a run which is resumed must still have, without those whose files or devices count."""
    return {key: config[key] for key, of in KEYS.items() if of.resumes is False and not of.no_effect(config)}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In which keys two runs are not the same experiment, with both values; "" if they are.

    Args:
        before: of `unchanging`, and by name what else counts. A key that it lacks had its default; for those that no
            version has any more see `btnet.training.removed_keys`.
        now: likewise.
    """
    defaults, told = _defaults(), []
    for key in {**now, **before}:
        one, other = (values.get(key, defaults.get(key)) for values in (before, now))
        if one != other and key not in REMOVED:
            told.append(f"{key} was {_shown(one)}, now it is {_shown(other)}")
    return "; ".join(told)


def packaged_configs() -> Path:
    """The folder of this package's own configs: within a wheel in the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / FOLDER
    return inside if inside.is_dir() else package.parents[1] / FOLDER


@cache
def _defaults() -> dict[str, Any]:
    """Of the package's base. A copy of it beside a config may state others, or lack the latest keys."""
    return _executed(packaged_configs() / BASE)


def _find(path: Path) -> Path:
    folders = [path.parent]
    if path.parent in (FOLDER, Path()):
        folders += [FOLDER, packaged_configs()]
    for folder in folders:
        for candidate in (folder / path.name, folder / f"{path.name}.py"):
            if candidate.is_file():
                return candidate
    others = sorted({p.stem for folder in folders for p in folder.glob("*.py")})
    near = difflib.get_close_matches(path.stem, others, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise FileNotFoundError(f"{path}: no such config{hint}")


def _ancestors(file: Path, base_file: Path, like: Any, run: Callable[[Path], dict[str, Any]]) -> list[Path]:
    """The file, the one it is like (or `like`, if given), and so on; without the base."""
    found: list[Path] = []
    while True:
        if file in found:
            raise ValueError(f"{found[0]}: is like itself, by way of {', '.join(f.stem for f in found)}")
        named = like if like is not None and not found else run(file).get("like", "")
        found.append(file)
        if not (named := _checked("like", named, str(file))):
            return [path for path in found if path != base_file]
        file = _find(file.parent / named)


def _run(file: Path) -> dict[str, Any]:
    if file.resolve() == (packaged_configs() / BASE).resolve():
        return copy.deepcopy(_defaults())
    return _executed(file)


def _executed(file: Path) -> dict[str, Any]:
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


def _merge(config: EasyDict, values: Mapping[str, Any], where: str) -> None:
    refuse_removed(values, where, off_too=True)
    for key, value in values.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1, cutoff=0.4)
            hint = (
                f"; did you mean {(_ELSEWHERE.get(key) or near[0])!r}?" if key in _ELSEWHERE or near else ""
            )
            raise ValueError(f"{where}: unknown key {_shown(key)}{hint}")
        config[key] = _checked(key, value, where)


def _refuse_what_has_no_effect(config: EasyDict, base: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    """Refuse keys that are set and that no run of this kind reads; those of the base alone go back to the defaults.

    A key that an ancestor of the config sets is refused as well: whoever reads the file would count on it. The file
    that changes the kind of the run has to set it back.
    """
    defaults = _defaults()
    reasons = {key: reason for key, of in KEYS.items() if (reason := of.no_effect(config))}
    wrong = [key for key in reasons if config[key] != base[key]]
    if wrong:
        key, *others = wrong
        also = f" (nor have {', '.join(others)})" if others else ""
        raise ValueError(
            f"{origins.get(key, '')}{key}={_shown(config[key])} has no effect{reasons[key]}{also}; "
            f"leave it at {defaults[key]!r}{KEYS[key].instead.format(config[key])}"
        )
    for key in reasons:
        config[key] = copy.deepcopy(defaults[key])
    for text in contradictions(config):
        raise ValueError(text)


def _checked(key: str, value: Any, where: str) -> Any:
    """A value as a configuration keeps it: paths as text, numbers as Python's own."""
    default = _defaults()[key]
    value = _as_text(value)
    expected, fits = _type_like(default)
    if not fits(value):
        raise ValueError(f"{where}: {key} = {_shown(value)}, expected {expected} such as {default!r}")
    if isinstance(default, float) or (default is None and value is not None):
        value = float(value)
    elif isinstance(default, list):
        value = [_as_text(item) for item in value]
    rule = KEYS[key].values
    try:
        holds = rule is None or rule.holds(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not holds:
        raise ValueError(f"{where}: {key} = {_shown(value)}, expected {rule.words if rule else ''}")
    return value


def _type_like(default: Any) -> tuple[str, Callable[[Any], bool]]:
    if default is None:
        return "a number or None", lambda value: value is None or _is_number(value)
    if isinstance(default, bool):
        return "True or False", lambda value: isinstance(value, bool)
    if isinstance(default, float):
        return "a number", _is_number
    if isinstance(default, int):
        return "a whole number", lambda v: isinstance(v, int) and _is_number(v) and abs(v) < 1 << 63
    if isinstance(default, list):
        return "a list", lambda value: isinstance(value, (list, tuple))
    if isinstance(default, Mapping):
        return "a dict", lambda value: isinstance(value, Mapping)
    return "a text", lambda value: isinstance(value, str)


def _is_number(value: Any) -> bool:
    """Whether it is one, neither NaN nor infinite nor too large for a float."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _shown(value: Any) -> str:
    try:
        return repr(value)[:_SHOWN]
    except (ValueError, RecursionError):  # a number of thousands of digits, a list nested too deep
        return f"a {type(value).__name__}"
