"""A picture and, beside it, the CSV of the numbers it shows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from btnet.evaluation.plots import save_figure
from btnet.files.atomic import replacing

TableRow = Mapping[str, str | int | float | None]
"""A line of the CSV: column, with its unit -> number in full precision; None is an empty field."""


def write_picture_and_table(figure: Figure, rows: Iterable[TableRow], path: Path) -> Path:
    """Write the figure to `path` and the rows to the same name with the ending .csv.

    Returns:
        Path of the table.
    """
    save_figure(figure, path)
    table = path.with_suffix(".csv")
    lines = list(rows)
    with replacing(table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return table
