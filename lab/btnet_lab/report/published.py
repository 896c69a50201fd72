"""Numbers of the paper's tables, which the report and the results page show beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

__all__ = ["MARK", "SOURCE", "published"]

MARK: Final = "paper"
"""Stands behind the name of a row of the paper's."""

SOURCE: Final = (
    "Learning Unified Representations for Multi-Resolution Face Recognition (BTNet), Tables 2 to 11; but TPIR20 at "
    "FPIR 0.01 on QMUL-SurvFace: the README of github.com/StevenSmith2000/BTNet"
)

_FILE = "published.tsv"


@cache
def published(section: str) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """The rows of a section of `published.tsv`, which says what they are.

    Args:
        section: "verification" (Table 2), "survface" (3), "training" (4 and 5), "ijbc 1:1" (6, 7, 10) or "ijbc 1:N"
            (8, 9, 11).

    Returns:
        {(model, setting): {column: number}}, accuracies and rates in %; without the numbers that the paper leaves out.
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
