"""Targets: settings, MATLAB lists of data sets' protocols, and what is kept as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

from btnet.public_sets.mat_lists import read_names_and_ids
from btnet.serving.optical import NUM_FEATURES, OpticalSelector
from btnet.training.config_file import load_config
from btnet_lab.report.build import report_sections
from btnet_lab.report.page import html_page, markdown_page
from btnet_lab.report.results import read_results
from fuzzing.mutators import damage, damage_json
from fuzzing.target import Change, Target, WrongAnswerError, plain

CONFIGS: Final = Path(__file__).parents[3] / "configs"
_SETTINGS: Final = {
    "number": b"lr=0.02", "whole": b"batch_size=128", "list": b"resolutions=[28, 14, 7]", "text": b"rec=synthetic:8:8",
    "truth": b"resume=True", "empty": b"name=",
}  # fmt: skip
_ODD: Final = (
    b"[" * 5000, b"(" * 90 + b")" * 90, b"9" * 6000, b"-" * 20000, b"1e999", b"1j", b"b'x'", b"'" + b"a" * 50000 + b"'",
    b"__import__('os').system('x')", b"{}", b"{1: 2}", b"None", b"...", b"\x00", b"10**10**10", b"f'{1}'",
    b"'a'*10**10",
    b"{[]}", b"{[]: 1}", b"+" * 9000 + b"1", b"0x" + b"f" * 5000, b"(" * 3000 + b"1" + b",)" * 3000, b"~1", b"1_0",
)  # fmt: skip


def _make_settings(folder: Path) -> None:
    for name, text in _SETTINGS.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "set").write_bytes(text)


def _odd_value(content: bytes, chance: Random) -> bytes:
    key = content.partition(b"=")[0]
    value = chance.choice(_ODD)
    return key + b"=" + (damage(value, chance) if chance.randrange(2) else value)


def _read_settings(folder: Path) -> Any:
    text = (folder / "set").read_bytes().decode("utf-8", errors="surrogateescape")
    config = load_config(CONFIGS / "demo_hr", [text])
    base = load_config(CONFIGS / "demo_hr")
    if set(config) != set(base):
        raise WrongAnswerError(f"keys {sorted(set(config) ^ set(base))} came or went")
    changed = {key: repr(value) for key, value in config.items() if repr(value) != repr(base[key])}
    if len(changed) > 2:
        raise WrongAnswerError(f"one text set {sorted(changed)}")
    return plain(changed)


def _make_lists(folder: Path) -> None:
    from scipy.io import savemat

    names = np.array([f"{i}_cam_{i}.jpg" for i in range(5)], dtype=object)[:, None]
    for name, compressed in (("plain", False), ("compressed", True)):
        (folder / name).mkdir(exist_ok=True)
        savemat(
            folder / name / "list.mat",
            {"set": names, "ids": np.arange(5)[:, None]},
            do_compression=compressed,
        )


def _read_lists(folder: Path) -> Any:
    names, ids = read_names_and_ids(folder / "list.mat", "set", "ids")
    if len(names) != len(ids):
        raise WrongAnswerError(f"{len(names)} names for {len(ids)} identities")
    return tuple(names), plain(ids)


def _make_selector(folder: Path) -> None:
    (folder / "selector").mkdir(exist_ok=True)
    weights = np.linspace(-0.2, 0.3, NUM_FEATURES)
    OpticalSelector(weights, {7: 9.5, 14: 20.0}, {7: 8.0, 14: 19.0}, {"faces": 50}).save(
        folder / "selector" / "selector.json"
    )


def _read_selector(folder: Path) -> Any:
    selector = OpticalSelector.load(folder / "selector.json")
    crops = [np.full((size, size, 3), np.arange(size, dtype=np.uint8)[:, None]) for size in (5, 12, 40)]
    sizes = selector.optical_sizes(crops)
    chosen = selector.resolutions_of(sizes, (7, 14, 28))
    wide = selector.fusion_sizes(sizes, (7, 14, 28))
    if not (np.isfinite(sizes).all() and np.isfinite(wide).all() and np.isin(chosen, (7, 14, 28)).all()):
        raise WrongAnswerError(f"sizes {sizes}, {wide}, resolutions {chosen}")
    return plain(sizes), plain(chosen), plain(wide)


def _make_results(folder: Path) -> None:
    (folder / "results").mkdir(exist_ok=True)
    networks = {"14": {"name": "branch", "fingerprint": "f" * 64}}
    results = [
        {"model": "one", "pair": [112, 14], "accuracy": 0.91, "std": 0.01, "tar_at_far": {"0.01": 0.8}}
    ]
    whole = {
        "task": "verification", "protocol": "10 folds", "interpolation": "bilinear",
        "models": [{"name": "one", "path": "runs/one", "networks": networks}],
        "sets": [{"name": "test", "sha256": "0" * 64, "num_pairs": 30, "results": results}],
        "versions": {"torch": "2.13.0"},
    }  # fmt: skip
    (folder / "results" / "result.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")


def _read_results(folder: Path) -> Any:
    """The tables, which are what a result file is read for."""
    sections = report_sections([read_results(folder / "result.json")])
    return html_page("title", "lead", sections, "made by"), markdown_page("title", "lead", sections)


def _accept(original: Any, found: Any, change: Change) -> None:
    """Another well-formed text is another setting."""


TARGETS = (
    Target(
        "--set texts", _make_settings, _read_settings, mutators=(damage, _odd_value), names="--set",
        limit="that another value of the right type was meant", judge=_accept,
    ),
    Target(
        "MATLAB lists", _make_lists, _read_lists,
        limit="names and identities: version 5 files have no checksum unless compressed", judge=_accept,
    ),
    Target(
        "learnt selector", _make_selector, _read_selector, limit="that another number was meant", judge=_accept,
        mutators=(damage, damage_json),
    ),
    Target(
        "result file", _make_results, _read_results, limit="that another number or name was meant", judge=_accept,
        mutators=(damage, damage_json),
    ),
)  # fmt: skip
