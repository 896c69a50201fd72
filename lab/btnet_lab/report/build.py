"""From result files to the report's sections; the last one lists models, data sets, files and versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from btnet_lab.report.identification import RATE_TASKS, plain_section, rate_sections, survface_sections
from btnet_lab.report.page import Picture, Section
from btnet_lab.report.published import MARK, SOURCE
from btnet_lab.report.results import ResultFile
from btnet_lab.report.table import Column, Row, Table
from btnet_lab.report.verification import verification_section
from btnet_lab.report.verification_scores import collect

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_Layout = Callable[[Sequence[ResultFile]], list[Section]]


def report_sections(files: Sequence[ResultFile], pictures: Sequence[Picture] = ()) -> list[Section]:
    """Sections in the order of the paper; tasks without a layout of their own are shown as written."""
    by_task: dict[str, list[ResultFile]] = {}
    for file in files:
        by_task.setdefault(file.task, []).append(file)
    sections = []
    for task, layout in _LAYOUTS.items():
        if task in by_task:
            sections += layout(by_task.pop(task))
    for found in by_task.values():
        sections += [plain_section(file) for file in found]
    if pictures:
        sections.append(Section("Pictures", blocks=pictures))
    return [*sections, sources_section(files)]


def read_picture(path: Path) -> Picture:
    """A PNG or SVG, captioned by its file's name."""
    if path.suffix not in _MEDIA_TYPES:
        raise ValueError(f"{path}: the report shows {' and '.join(_MEDIA_TYPES)} pictures; convert it first")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    caption = path.stem.replace("_", " ").replace("-", " ").capitalize()
    return Picture(f"{caption}.", path.read_bytes(), _MEDIA_TYPES[path.suffix])


def _verification(files: Sequence[ResultFile]) -> list[Section]:
    return [verification_section(scores) for scores in collect(files) if scores.entries]


_LAYOUTS: dict[str, _Layout] = {
    "verification": _verification,
    "survface": survface_sections,
    **dict.fromkeys(RATE_TASKS, rate_sections),
}


def sources_section(files: Sequence[ResultFile]) -> Section:
    """Fingerprints, checksums and versions, so that every number can be traced."""
    return Section(
        "What was measured",
        "Fingerprints and checksums are SHA-256, cut to 12 digits; the result files hold them whole.",
        [
            _models(files),
            _sets(files),
            _files(files),
            Table("Published numbers", "marked", (Column("source", best=""),), (Row(MARK, (SOURCE,)),)),
        ],
    )


def _models(files: Iterable[ResultFile]) -> Table:
    rows: dict[Row, None] = {}
    for file in files:
        for model in file.models:
            networks = model.get("networks", {})
            listed = [f"{size} px: {_network(about)}" for size, about in networks.items()]
            sizes = ", ".join(map(str, model.get("resolutions") or ()))
            kind = f"{model['kind']}, {sizes} px" if model.get("kind") else None
            whole = str(model.get("fingerprint") or "")[:12] or None
            cells = (kind, whole, "; ".join(listed) or None, str(model.get("path", "")))
            rows[Row(str(model.get("name", "")), cells)] = None
    names = ("kind", "fingerprint", "networks and fingerprints", "path")
    columns = tuple(Column(name, best="") for name in names)
    return Table("Models", "model", columns, tuple(rows))


def _network(about: object) -> str:
    if not isinstance(about, Mapping):
        return str(about)
    fingerprint = str(about.get("fingerprint", ""))[:12]
    return f"{about.get('name', '')} {fingerprint}".strip()


def _sets(files: Iterable[ResultFile]) -> Table:
    rows: dict[Row, None] = {}
    for file in files:
        for found in file.sets:
            facts = ", ".join(f"{key} {_short(value)}" for key, value in found.facts.items())
            rows[Row(found.name, (file.task, facts or None, found.sha256[:12] if found.sha256 else None))] = (
                None
            )
    columns = (Column("task", best=""), Column("facts", best=""), Column("SHA-256", best=""))
    return Table("Data sets", "set", columns, tuple(rows))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _files(files: Iterable[ResultFile]) -> Table:
    rows = [
        Row(
            file.path.as_posix(),
            (file.task, ", ".join(f"{name} {version}" for name, version in file.versions.items()) or None),
        )
        for file in files
    ]
    return Table("Result files", "file", (Column("task", best=""), Column("versions", best="")), tuple(rows))
