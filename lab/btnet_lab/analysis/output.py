"""A picture and, beside it, the CSV of the numbers it shows."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from btnet.evaluation.plots import save_figure
from btnet.files.atomic import replacing

__all__ = ["write_picture_and_table"]

Cell = str | int | float | None


def write_picture_and_table(
    figure: Figure, header: Sequence[str], rows: Iterable[Sequence[Cell]], path: Path
) -> Path:
    """Write the figure to `path` and the rows to the same name with the ending .csv.

    Args:
        figure: the picture.
        header: names of the columns, with units.
        rows: numbers in full precision; None is an empty field.
        path: of the picture, .png or .svg.

    Returns:
        Path of the table.

    Raises:
        ValueError: for another ending.
    """
    save_figure(figure, path)
    table = path.with_suffix(".csv")
    with replacing(table) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return table
