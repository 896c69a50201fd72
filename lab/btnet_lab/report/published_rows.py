"""The paper's rows in our tables: below ours of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from btnet_lab.report.published import MARK
from btnet_lab.report.table import Row

__all__ = ["Published", "has_gain", "with_published"]

Key = tuple[str, str]
Published = Mapping[Key, Mapping[str, float]]


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
        theirs: of `btnet_lab.report.published.published`.
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
