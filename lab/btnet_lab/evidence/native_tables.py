"""Tables of the native test and of cameras, from their result files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from btnet_lab.evidence.cost_tables import difference_table
from btnet_lab.evidence.native import NATIVE
from btnet_lab.report.page import Section
from btnet_lab.report.table import Cell, Column, Row, Table

_LEAD = (
    "Probes that were small when taken: the scene around the face is blurred by a lens, sampled by a sensor, made "
    "noisy and stored as JPEG; the probe is aligned at its own size, by landmarks with a detector's errors. The "
    "gallery stays at 112 px. A face has up to four times as many pixels as it has detail."
)
_ASKED = ("max+ceil", "optical", "fused, optical")
_NOTES = (
    "all at r: one network for every probe (112: phi_hr). avg, min or max of the box's sides with floor, near or ceil: "
    "the paper's selection rules. optical: the learnt selector, which looks at the picture. fused: the two nearest "
    "networks, weighted by how near their sizes are. known: by the true optical size, unknown in practice.",
    "Sharp: fewer than 2 sensor px per px of detail. The selectors were fitted on the training people.",
)
_CAMERA_LEAD = (
    "BatchNorm statistics re-estimated on unlabelled faces of other people seen by the same camera; weights, trunk and "
    "gallery stay. Faces are counted per branch, up to as many as there are."
)


def native_sections(results: Path) -> list[Section]:
    """Tables of the native test and the camera test; none where they were not run."""
    found = []
    if (native := _read(results / NATIVE / f"{NATIVE}.json")) is not None:
        blocks = [_strategies(native, model["name"]) for model in native["models"]]
        found.append(Section("Native test", _LEAD, [*blocks, _comparisons(native)]))
    if (camera := _read(results / NATIVE / "camera.json")) is not None:
        found.append(Section("A BN set per camera", _CAMERA_LEAD, [_cameras(camera), _comparisons(camera)]))
    return found


def native_answers(results: Path) -> list[Section]:
    """The native test in one table: by the paper's selection rule, and by the learnt selector."""
    native = _read(results / NATIVE / f"{NATIVE}.json")
    if native is None:
        return []
    found = {(entry["model"], entry["choice"]): entry for entry in native["sets"][0]["results"]}
    entries = [
        found[model["name"], choice]
        for model in native["models"]
        for choice in _ASKED
        if (model["name"], choice) in found
    ]
    rows = [Row(f"{entry['model']}; {entry['choice']}", _rates(entry)) for entry in entries]
    table = Table("Accuracy on photographed small faces, %", "model; how the network is chosen",
                  tuple(_rate_columns(entries)), tuple(rows), _NOTES[:1])  # fmt: skip
    return [Section("Photographed small faces", _LEAD, [table])]


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["models"], document["sets"][0]["results"], document["comparisons"]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: not a result of the native test ({error!r}); delete it and run again"
        ) from error
    return dict(document)


def _rates(entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        100 * entry["accuracy"],
        *(None if value is None else 100 * value for value in entry["tar_at_far"].values()),
        100 * entry["auc"],
    )


def _rate_columns(entries: Sequence[Mapping[str, Any]]) -> list[Column]:
    fars = entries[0]["tar_at_far"]
    return [Column("accuracy"), *(Column(f"TAR at {far}") for far in fars), Column("AUC")]


def _strategies(document: Mapping[str, Any], model: str) -> Table:
    made = document["sets"][0]
    entries = [entry for entry in made["results"] if entry["model"] == model]
    networks = " / ".join(entries[0]["share_by_resolution"])
    rows = []
    for entry in entries:
        parts = tuple(
            None if entry[key] is None else 100 * entry[key] for key in ("auc_sharp", "auc_blurred")
        )
        shares = " / ".join(f"{100 * share:.0f}" for share in entry["share_by_resolution"].values())
        rows.append(Row(entry["choice"], (*_rates(entry), *parts, shares)))
    columns = [*_rate_columns(entries), Column("AUC, sharp"), Column("AUC, blurred")]
    columns.append(Column(f"% by {networks} px", best=""))
    pixel, optical = (made["sizes_at_5_50_95_percent"][key] for key in ("pixel_px", "optical_px"))
    sizes = (
        f"{made['num_pairs']} pairs; at 5, 50 and 95 % of the probes "
        f"{', '.join(f'{size:.0f}' for size in pixel)} px of the sensor and "
        f"{', '.join(f'{size:.0f}' for size in optical)} px of detail."
    )
    return Table(f"{model}, native probes, %", "choice", tuple(columns), tuple(rows), (sizes, *_NOTES))


def _cameras(document: Mapping[str, Any]) -> Table:
    entries = document["sets"][0]["results"]
    rows = [
        Row(
            f"{entry['camera']}: {entry['num_faces'] or 'own statistics'}{' faces' if entry['num_faces'] else ''}",
            (*_rates(entry), entry["bytes_stored"] / 1000 or None),
        )
        for entry in entries
    ]
    columns = [Column(column.name, best="") for column in _rate_columns(entries)]
    columns.append(Column("stored, kB", digits=0, best=""))
    note = f"{document['sets'][0]['num_pairs']} pairs; the file holds the statistics of every branch that was adapted."
    return Table(
        "Accuracy by camera and number of its faces, %", "camera", tuple(columns), tuple(rows), (note,)
    )


def _comparisons(document: Mapping[str, Any]) -> Table:
    named = [(f"{found['first']} - {found['second']}", found) for found in document["comparisons"]]
    return difference_table(named, "Of the accuracies; paired bootstrap over identities, 2000 draws.")
