"""What was measured with what: models, data sets, libraries, files; and where published numbers come from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from btnet_lab.report.page import Section
from btnet_lab.report.published import MARK, SOURCE
from btnet_lab.report.results import ResultFile
from btnet_lab.report.table import Column, Row, Table


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
