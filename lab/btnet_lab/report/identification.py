"""Tables 3 and 6 to 11: QMUL-SurvFace, IJB-C and other benchmarks; and tasks without a layout of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from btnet.evaluation.plots import Curve
from btnet.evaluation.summary import GainBaselines, gains
from btnet_lab.report.page import Picture, Section, picture_of
from btnet_lab.report.published import MARK, has_gain, published, with_published
from btnet_lab.report.results import NOT_MEASURED, ResultFile, ResultSet, number, pair_label
from btnet_lab.report.table import Cell, Column, Row, Table
from btnet_lab.roc_panels import draw_roc_panels

RATE_TASKS = {
    "survface-verification": "QMUL-SurvFace 1:1",
    "ijbc": "IJB-C",
    "ijbb": "IJB-B",
    "tinyface": "TinyFace",
    "scface": "SCFace",
}
"""Task -> what people call it."""

_METRICS = {
    "tar_at_far": "TAR at FAR",
    "rank": "rank",
    "ijb_1n tpir": "TPIR at FPIR, galleries joined",
    "ijb_1n rank": "rank, galleries joined",
    "ijb_1n_standard tpir": "TPIR at FPIR, each gallery apart",
    "ijb_1n_standard rank": "rank, each gallery apart",
}
_NO_RATES = ("gain", "roc", "faces_by_resolution")
# Where the paper reads off gains (Tables 10, 11), and under which words its rates stand in its section.
_GAIN_AT = {"tar_at_far": "0.0001", "ijb_1n tpir": "0.1", "ijb_1n_standard tpir": "0.1"}
_PUBLISHED = {
    "tar_at_far": ("ijbc 1:1", ""),
    "ijb_1n tpir": ("ijbc 1:N", "tpir "),
    "ijb_1n rank": ("ijbc 1:N", "rank "),
}
_FPIRS = (0.3, 0.2, 0.1, 0.01)


def survface_sections(files: Sequence[ResultFile]) -> list[Section]:
    """Table 3: AUC and TPIR20 of each model and strategy, with the published strategies and methods.

    An entry names its "model", "indicator" and "rule" (or "strategy": "max+ceil"), "auc", and TPIR20 by FPIR
    under a name that starts with "tpir"; each "scorer" has a table of its own, further text joins the name.
    """
    return [
        Section(
            "QMUL-SurvFace 1:N",
            _lead(file),
            [table for found in file.sets for table in _tables_3(found)],
        )
        for file in files
    ]


def rate_sections(files: Sequence[ResultFile]) -> list[Section]:
    """Tables 6 to 11: for each set and setting (a pair of resolutions, a scorer ...), models by rates."""
    return [
        Section(
            RATE_TASKS.get(file.task, file.task),
            _lead(file),
            [block for found in file.sets for block in _blocks(file.task, found)],
        )
        for file in files
    ]


def plain_section(file: ResultFile) -> Section:
    """Every number of a file as it was written, one table per data set."""
    tables = []
    for found in file.sets:
        numbers = [dict(_flat(entry)) for entry in found.results]
        names = list(dict.fromkeys(name for by_name in numbers for name in by_name))
        rows = [
            Row(
                ", ".join(filter(None, (str(entry.get("model", "")), _setting(entry)))),
                tuple(by_name.get(name) for name in names),
            )
            for entry, by_name in zip(found.results, numbers, strict=True)
        ]
        columns = tuple(Column(name, digits=4, best="") for name in names)
        tables.append(Table(found.name, "model", columns, tuple(rows), _facts(found)))
    return Section(file.task, _lead(file), tables)


def _flat(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """Numbers of an entry by name; those in a dict under "tar_at_far" as "tar_at_far 0.01"."""
    for key, value in entry.items():
        name = f"{prefix} {key}".strip()
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif value is None or isinstance(value, (int, float)):
            yield name, number(value)


def _lead(file: ResultFile) -> str:
    return "; ".join(part for part in (f"Faces resized by {file.interpolation}", file.protocol) if part) + "."


def _tables_3(found: ResultSet) -> Iterator[Table]:
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for entry in found.results:
        by_scorer.setdefault(str(entry.get("scorer", "")), []).append(entry)
    for scorer, entries in by_scorer.items():
        yield _table_3(found, scorer, entries)


def _table_3(found: ResultSet, scorer: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    columns = (Column("AUC", digits=1), *(Column(f"{fpir:g}", "TPIR20 at FPIR", 1) for fpir in _FPIRS))
    rows = [Row(_survface_name(entry, _strategy(entry)), _survface_cells(entry)) for entry in entries]
    keys = ["auc", *(f"{fpir:g}" for fpir in _FPIRS)]
    rows += [
        Row(", ".join(filter(None, name)), tuple(numbers.get(key) for key in keys), MARK)
        for name, numbers in published("survface").items()
    ]
    notes = (
        "The paper's table ends at FPIR 0.1; the rates at 0.01 are its authors' README's.",
        *((NOT_MEASURED,) if any(None in row.cells for row in rows if not row.source) else ()),
        *_facts(found),
    )
    title = ", ".join(part for part in (found.name, scorer) if part)
    return Table(f"{title}: TPIR20 and AUC, % (Table 3)", "model, strategy", columns, tuple(rows), notes)


def _strategy(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    if isinstance(entry.get("indicator"), str) and isinstance(entry.get("rule"), str):
        return entry["indicator"], entry["rule"]
    words = [word.strip(" .") for word in str(entry.get("strategy", "")).split("+")]
    return (words[0], words[1]) if len(words) == 2 else None


def _survface_name(entry: Mapping[str, Any], strategy: tuple[str, str] | None) -> str:
    used = ("model", "indicator", "rule", "strategy", "scorer")
    words = [
        str(entry.get("model", "")),
        " + ".join(strategy) if strategy else str(entry.get("strategy", "")),
    ]
    words += [value for key, value in entry.items() if key not in used and isinstance(value, str)]
    return ", ".join(word for word in words if word)


def _survface_cells(entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    rates = next((v for k, v in entry.items() if k.startswith("tpir") and isinstance(v, Mapping)), {})
    by_fpir = {float(fpir): number(rate) for fpir, rate in rates.items() if _is_rate(fpir)}
    return tuple(map(_percent, (number(entry.get("auc")), *(by_fpir.get(fpir) for fpir in _FPIRS))))


def _blocks(task: str, found: ResultSet) -> Iterator[Table | Picture]:
    yield from _rates(task, found)
    yield from _curves(found)


def _rates(task: str, found: ResultSet) -> Iterator[Table]:
    settings: dict[str, list[Mapping[str, Any]]] = {}
    for entry in found.results:
        settings.setdefault(_setting(entry), []).append(entry)
    for setting, entries in settings.items():
        title = ", ".join(part for part in (found.name, setting) if part)
        metrics = dict.fromkeys(name for entry in entries for name in _metrics(entry))
        for metric in metrics:
            yield _rate_table(task, metric, title, entries)
        numbers = dict.fromkeys(k for e in entries for k, v in e.items() if number(v) is not None)
        plain = [name for name in numbers if not name.startswith("num_")]
        if plain:
            rows = [
                Row(str(e.get("model", "")), tuple(_percent(number(e.get(name))) for name in plain))
                for e in entries
            ]
            columns = tuple(Column(name, best="" if name == "std" else "max") for name in plain)
            yield Table(f"{title}, %", "model", columns, tuple(rows), _facts(found))


def _curves(found: ResultSet) -> Iterator[Picture]:
    """Figs. 11 and 12: the curves that results carry, a panel for each setting."""
    panels: dict[str, dict[str, Curve]] = {}
    for entry in found.results:
        roc = entry.get("roc")
        if isinstance(roc, Mapping) and roc.get("far"):
            curve = np.array(roc["far"], dtype=np.float64), np.array(roc["tar"], dtype=np.float64)
            panels.setdefault(_setting(entry), {})[str(entry.get("model", ""))] = curve
    if panels:
        yield picture_of(draw_roc_panels(panels), f"{found.name} 1:1, ROC (figs. 11 and 12).")


def _rate_table(task: str, metric: str, title: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    rates = {str(e.get("model", "")): dict(_metrics(e).get(metric, {})) for e in entries}
    names = list(dict.fromkeys(name for by_name in rates.values() for name in by_name))  # "1e-06", "0.0001"
    columns = [Column(name) for name in names]
    cells: dict[str, list[Cell]] = {
        model: [_percent(number(by_name.get(name))) for name in names] for model, by_name in rates.items()
    }
    section, words = _PUBLISHED.get(metric, ("", ""))
    theirs = published(section) if task == "ijbc" and section else {}
    pair = pair_label(entries[0].get("pair"))
    keys = [(pair, words + name) for name in names]
    at = _GAIN_AT.get(metric, "")
    numbers = {model: number(by_name.get(at)) for model, by_name in rates.items()}
    gained = gains(pair, numbers, GainBaselines.among(numbers))
    if at in names and has_gain(pair, gained, theirs):
        columns.append(Column(f"gain at {at}", signed=True, best=""))
        keys.append((pair, "gain"))
        for model, value in gained.items():
            cells[model].append(value)
    rows = with_published([Row(model, tuple(row)) for model, row in cells.items()], keys, theirs)
    notes = (GainBaselines.among(numbers).note,) if len(columns) > len(names) else ()
    if any(rate is None for by_name in rates.values() for rate in by_name.values()):
        notes = (NOT_MEASURED, *notes)
    return Table(f"{title}: {_METRICS.get(metric, metric)}, %", "model", tuple(columns), tuple(rows), notes)


def _metrics(entry: Mapping[str, Any], prefix: str = "") -> dict[str, Mapping[str, Any]]:
    """Rates by metric; those of a scorer under "ijb_1n tpir"."""
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in entry.items():
        if not isinstance(value, Mapping) or key in _NO_RATES:
            continue
        if any(isinstance(inner, Mapping) for inner in value.values()):
            found |= _metrics(value, f"{key} ")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _setting(entry: Mapping[str, Any]) -> str:
    words = [
        pair_label(value) if key == "pair" else str(value)
        for key, value in entry.items()
        if key != "model" and (key == "pair" or isinstance(value, str))
    ]
    return ", ".join(words)


def _facts(found: ResultSet) -> tuple[str, ...]:
    facts = [f"{key} {value}" for key, value in found.facts.items() if number(value) is not None]
    return (", ".join(facts) + ".",) if facts else ()


def _percent(rate: float | None) -> float | None:
    return None if rate is None else 100 * rate


def _is_rate(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True
