"""The look of the laboratory's figures: series, markers, a colour for each model, legends, SVG for pages."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from btnet.evaluation.plots import COLOURS, LINES

MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
SERIES: Final = ("#08306b", "#2171b5", "#6baed6", "#c6dbef", "#e9f1f9")
"""Five blues from dark to light, for what has an order (resolutions from large to small)."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"
_ROLES: Final = {"phi_hr": 0, "phi_mm": 1, "phi_mr": 2, "phi_bt": 3}


def family_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and marker of each of many models: one colour for a family, told apart by line and marker.

    Args:
        names: of all models in the picture; what stands before the first space or comma is the family.
    """
    family_of = {name: re.split("[ ,]", name, maxsplit=1)[0] for name in names}
    families = list(dict.fromkeys(family_of.values()))
    styles: dict[str, dict[str, Any]] = {}
    for name, family in family_of.items():
        order = sum(family_of[other] == family for other in styles)
        styles[name] = {
            "color": colour_of(family, families),
            "linestyle": LINES[order % len(LINES)],
            "marker": MARKERS[(families.index(family) + 2 * order) % len(MARKERS)],
        }
    return styles


def colour_of(name: str, names: Sequence[str]) -> str:
    """A colour for a model: its role's wherever it is drawn, else the next that is free among `names`."""
    taken: dict[str, str] = {}
    for other in names:
        role = _ROLES.get(other)
        if role is not None:
            taken[other] = COLOURS[role]
    free = [colour for colour in COLOURS if colour not in taken.values()] or list(COLOURS)
    others = [other for other in names if other not in taken]
    return taken.get(name) or free[others.index(name) % len(free)]


def legend_below(
    figure: Figure | SubFigure, all_axes: Sequence[Axes], num_columns: int | None = None
) -> None:
    """One legend for several axes, each name once, below them."""
    entries: dict[str, Any] = {}
    for axes in all_axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=num_columns or len(entries),
        frameon=False,
    )


def svg_text(figure: Figure) -> str:
    """The figure as SVG source without background, to stand in a page."""
    FigureCanvasAgg(figure)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "btnet"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
