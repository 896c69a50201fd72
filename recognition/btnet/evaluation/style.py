"""How all pictures of the project look: colours, names of models, and how a figure becomes a file."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from btnet.console import shown
from btnet.files.atomic import replacing
from btnet.optional import extra

with extra("plots"):
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure, SubFigure

__all__ = [
    "COLOURS",
    "LINES",
    "MARKERS",
    "PICTURE_ENDINGS",
    "SERIES",
    "TIMES",
    "check_picture",
    "colour_of",
    "family_styles",
    "legend_below",
    "math_name",
    "new_figure",
    "save_figure",
    "svg_text",
    "tidy",
]

# Okabe and Ito's palette: told apart by colour-blind readers. Line styles and markers help on paper.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
LINES: Final = ("-", "--", "-.", ":")
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
SERIES: Final = ("#08306b", "#2171b5", "#6baed6", "#c6dbef", "#e9f1f9")
"""Five blues from dark to light, for what has an order (resolutions from large to small)."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"
PICTURE_ENDINGS: Final = (".png", ".svg")
_ROLES: Final = {"phi_hr": 0, "phi_mm": 1, "phi_mr": 2, "phi_bt": 3}


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches whose parts keep clear of each other."""
    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes, grid: str | None = "y") -> None:
    """The common frame: no lines on top and at the right, a faint grid behind the data.

    Args:
        axes: to change.
        grid: "x", "y", "both", or None for none.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if grid == "both":
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
    elif grid is not None:
        axes.grid(which="major", axis="x" if grid == "x" else "y", color="#dddddd", linewidth=0.6)


def math_name(name: str) -> str:
    """A name as matplotlib sets it: "phi_bt r14" becomes a Greek letter with its index.

    Other names are shown as they are: dollars, and an underscore in front, which would keep them out of legends.
    """
    name = shown(name)
    match = re.fullmatch(r"phi_([A-Za-z0-9]+)(?:[ _](\w+))?", name, re.ASCII)
    if match is not None:
        return rf"$\phi_{{\mathrm{{{match[1]}}}}}$" + (f" {match[2]}" if match[2] else "")
    escaped = re.sub(r"^_", r"$\\_$", name.replace("$", r"\$"))
    # In words ("phi_mm, from scratch"); a path is left alone.
    return re.sub(r"(?<![\w/])phi_([A-Za-z0-9]+)(?=[ ,]|$)", r"$\\phi_{\\mathrm{\1}}$", escaped)


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
    """A colour for a model: its role's wherever it is drawn, else the next that is free among `names`.

    Args:
        name: one of `names`.
        names: of all models in the picture.
    """
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
    """One legend for several axes, each name once, below them.

    Args:
        figure: that they are in.
        all_axes: with labelled curves.
        num_columns: of the legend; None for one line.
    """
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


def save_figure(figure: Figure, path: str | Path, dpi: int = 150) -> None:
    """Write a PNG or an SVG, whole or not at all.

    Args:
        figure: to draw.
        path: its ending chooses the format; its folder is created.
        dpi: dots per inch, of a PNG and of images in an SVG.

    Raises:
        ValueError: for another ending.
    """
    path = check_picture(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    with replacing(path) as temporary, mpl.rc_context({"svg.hashsalt": "btnet"}):
        # Without a date: the same numbers give the same file.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, format=path.suffix[1:], dpi=dpi, facecolor="white", metadata=metadata)


def check_picture(path: str | Path) -> Path:
    """The path, if its ending is one that `save_figure` writes.

    Raises:
        ValueError: if it is not.
    """
    path = Path(path)
    if path.suffix not in PICTURE_ENDINGS:
        raise ValueError(f"{path}: pictures are written as {' or '.join(PICTURE_ENDINGS)}; change the ending")
    return path


def svg_text(figure: Figure) -> str:
    """The figure as SVG source without background, to stand in a page."""
    FigureCanvasAgg(figure)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "btnet"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
