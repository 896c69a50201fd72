"""The paper's tables, and their rows in ours: below ours of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from btnet_lab.report.table import Cell, Column, Row

Key = tuple[str, str]
Published = Mapping[Key, Mapping[str, float]]
"""(model, setting) -> column -> number."""

MARK: Final = "paper"
"""Stands behind the name of a row of the paper's."""

SOURCE: Final = (
    "Learning Unified Representations for Multi-Resolution Face Recognition (BTNet), Tables 2 to 11; but TPIR20 at "
    "FPIR 0.01 on QMUL-SurvFace: the README of github.com/StevenSmith2000/BTNet"
)

_FILE = "published.tsv"


@cache
def published(section: str) -> Published:
    """The rows of a section of `published.tsv`, which says what they are.

    Args:
        section: "verification" (Table 2), "survface" (3), "training" (4 and 5), "ijbc 1:1" (6, 7, 10) or "ijbc 1:N"
            (8, 9, 11).

    Returns:
        Accuracies and rates in %; without the numbers that the paper leaves out.
    """
    text = files("btnet_lab.report").joinpath(_FILE).read_text(encoding="utf-8")
    lines = text.partition(f"[{section}]\n")[2].partition("\n[")[0].splitlines()
    head, *rows = (line.split("\t") for line in lines if line and not line.startswith("#"))
    return {
        (model, setting): {
            name: float(cell) for name, cell in zip(head[2:], cells, strict=True) if cell != "-"
        }
        for model, setting, *cells in rows
    }


def with_published(
    ours: Iterable[Row],
    keys: Sequence[Key],
    theirs: Published,
    *,
    only_below_ours: bool = False,
) -> list[Row]:
    """Put the paper's rows below ours of the same name, those of other names at the end.

    Args:
        ours: the rows of a table.
        keys: (setting, column) of `theirs` for each column of the table; ("", "") for a column that the paper lacks.
        theirs: of `published`.
        only_below_ours: leave out those of other names.
    """
    below = {}
    for model in dict.fromkeys(model for model, _ in theirs):
        cells = tuple(theirs.get((model, setting), {}).get(column) for setting, column in keys)
        if any(cell is not None for cell in cells):
            below[model] = Row(model, cells, MARK)
    rows = []
    for row in ours:
        rows.append(row)
        if row.name in below:
            rows.append(below.pop(row.name))
    return rows if only_below_ours else [*rows, *below.values()]


def has_gain(pair: str, ours: Mapping[str, float | None], theirs: Published) -> bool:
    """Whether a column of gains at this pair of resolutions would hold a number, ours or the paper's."""
    known = any(value is not None for value in ours.values())
    return known or any("gain" in numbers for (_, at), numbers in theirs.items() if at == pair)


def accuracies_and_gains(
    accuracies: Mapping[str, Mapping[str, Cell]],
    gained: Mapping[str, Mapping[str, float | None]],
    theirs: Published,
) -> tuple[tuple[Column, ...], list[Key], list[Row]]:
    """Accuracy at each pair of resolutions and, where there is one, the gain (eq. 4, 5): Table 2's layout.

    Args:
        accuracies: pair -> model -> accuracy in %.
        gained: pair -> model -> gain, of the same pairs and models.
        theirs: of `published`, for `has_gain`.

    Returns:
        Columns, the keys for `with_published`, and our rows.
    """
    columns: list[Column] = []
    keys: list[Key] = []
    cells: dict[str, list[Cell]] = {model: [] for by_model in accuracies.values() for model in by_model}
    for pair, by_model in accuracies.items():
        columns.append(Column("acc., %", pair))
        keys.append((pair, "accuracy"))
        for model, cell in by_model.items():
            cells[model].append(cell)
        if has_gain(pair, gained[pair], theirs):
            columns.append(Column("gain", pair, signed=True, best=""))
            keys.append((pair, "gain"))
            for model, gain in gained[pair].items():
                cells[model].append(gain)
    return tuple(columns), keys, [Row(model, tuple(row)) for model, row in cells.items()]
