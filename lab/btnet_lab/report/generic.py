"""Results of a task without a layout of its own: every number that was written, in a plain table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from btnet_lab.report.results import ResultFile, number, pair_label
from btnet_lab.report.section import Section
from btnet_lab.report.table import Column, Row, Table

__all__ = ["flat_numbers", "generic_section", "row_name"]


def generic_section(file: ResultFile) -> Section:
    """One table per data set; numbers as written, in the file's units."""
    tables = []
    for result_set in file.sets:
        found = [dict(flat_numbers(entry)) for entry in result_set.results]
        names = list(dict.fromkeys(name for numbers in found for name in numbers))
        rows = [
            Row(row_name(entry), tuple(numbers.get(name) for name in names))
            for entry, numbers in zip(result_set.results, found, strict=True)
        ]
        columns = tuple(Column(name, digits=4, best="") for name in names)
        facts = [f"{key} {value}" for key, value in result_set.facts.items() if number(value) is not None]
        notes = (", ".join(facts) + ".",) if facts else ()
        tables.append(Table(result_set.name, "model", columns, tuple(rows), notes))
    lead = "; ".join(part for part in (file.protocol, f"faces resized by {file.interpolation}") if part)
    return Section(file.task, f"{lead}.", tables)


def row_name(entry: Mapping[str, Any]) -> str:
    """What a line is called: the model, and all else that is text or a pair of resolutions."""
    words = [str(entry.get("model", ""))]
    for key, value in entry.items():
        if key == "pair":
            words.append(pair_label(value))
        elif key != "model" and isinstance(value, str):
            words.append(value)
    return ", ".join(word for word in words if word)


def flat_numbers(entry: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | None]]:
    """Numbers of an entry by name; those in a dict under "tar_at_far" as "tar_at_far 0.01"."""
    for key, value in entry.items():
        name = f"{prefix} {key}".strip()
        if isinstance(value, Mapping):
            yield from flat_numbers(value, name)
        elif value is None or (number(value) is not None) or isinstance(value, float):
            yield name, number(value)
