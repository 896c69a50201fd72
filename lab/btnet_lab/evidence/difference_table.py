"""Paired differences as a table: how much better, within which bounds, and how surely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from btnet_lab.report.table import Column, Row, Table

__all__ = ["difference_table"]


def difference_table(found: Iterable[tuple[str, Mapping[str, Any]]], note: str) -> Table:
    """One row for each comparison.

    Args:
        found: name of the row, and the fields of `btnet.evaluation.bootstrap.PairedDifference`.
        note: below the table.
    """
    rows = [
        Row(
            name,
            (
                100 * entry["mean"],
                f"{100 * entry['low']:+.2f} to {100 * entry['high']:+.2f}",
                100 * entry["share_not_above"],
            ),
        )
        for name, entry in found
    ]
    columns = (
        Column("difference, points", signed=True, best=""),
        Column("95 % interval", best="", narrow=True),
        Column("draws in which it is not better, %", digits=2, best=""),
    )
    return Table("Differences on the same people", "rows", columns, tuple(rows), (note,))
