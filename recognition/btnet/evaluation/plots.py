"""ROC curves, and how every picture of the project looks and becomes a file.

Drawn with matplotlib's figure objects, not pyplot: no global state, no display, safe in threads.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from btnet.console import shown
from btnet.evaluation.served import ServedPoint
from btnet.files.atomic import replacing
from btnet.optional import extra

with extra("plots"):
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

__all__ = [
    "COLOURS",
    "LINES",
    "PICTURE_ENDINGS",
    "Curve",
    "check_picture",
    "draw_roc",
    "math_name",
    "new_figure",
    "plot_roc",
    "plot_served",
    "save_figure",
    "tidy",
]

Curve = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""FAR and TAR, both rising, as `btnet.evaluation.verification.roc_curve` gives them."""

# Okabe and Ito's palette: told apart by colour-blind readers. Line styles help on paper.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
LINES: Final = ("-", "--", "-.", ":")
PICTURE_ENDINGS: Final = (".png", ".svg")


def plot_roc(
    curves: Mapping[str, Curve], path: str | Path, *, title: str = "Verification", dpi: int = 150
) -> None:
    """Draw ROC curves with a logarithmic FAR axis.

    Args:
        curves: name of each model -> (far, tar); "phi_bt" is set as a Greek letter with its index.
        path: PNG or SVG to write; it appears complete or not at all.
        title: above the curves, e.g. "112&14".
        dpi: dots per inch.

    Raises:
        ValueError: if there is no curve, or one has no point.
    """
    figure = new_figure(5.2, 4.4)
    axes = figure.add_subplot()
    draw_roc(axes, curves, title)
    axes.set_ylabel("true accept rate")
    axes.legend(loc="best", frameon=False)
    save_figure(figure, path, dpi)


def plot_served(points: Sequence[ServedPoint], path: str | Path, *, model: str, title: str) -> None:
    """Draw a served curve: accuracy by the size of the probe, a dot where model and trunk differ significantly."""
    figure = new_figure(5.6, 4.0)
    axes = figure.add_subplot()
    rows = [(p.size, p.accuracy, p.trunk_accuracy, p.difference.low, p.difference.high) for p in points]
    sizes, accuracy, trunk, low, high = np.array(rows).T
    decided = (low > 0) | (high < 0)
    # The interval of the difference, above the trunk's curve: it holds that curve where the difference does not count.
    axes.fill_between(sizes, trunk + low, trunk + high, color=COLOURS[0], alpha=0.15, linewidth=0)
    axes.plot(sizes, accuracy, color=COLOURS[0], label=math_name(model))
    axes.plot(sizes, trunk, color=COLOURS[1], linestyle=LINES[1], label="trunk alone, faces enlarged")
    axes.plot(sizes[decided], accuracy[decided], "o", color=COLOURS[0], markersize=4, label="significant")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(xlabel="size of the probe, px", ylabel="accuracy, full-size gallery", title=title)
    axes.legend(loc="lower right", frameon=False)
    tidy(axes, "both")
    save_figure(figure, path)


def draw_roc(axes: Axes, curves: Mapping[str, Curve], title: str, models: Sequence[str] = ()) -> None:
    """Draw ROC curves into axes.

    Args:
        axes: to draw in.
        curves: name of each model -> (far, tar).
        title: above them.
        models: of the whole picture: a model keeps its colour in all its axes; none: those of these curves.

    Raises:
        ValueError: if there is no curve, or one has no point.
    """
    if not curves:
        raise ValueError(f"no curves to plot for {title!r}; expected at least one (far, tar)")
    order = list(models) or list(curves)
    smallest = 1.0
    for name, (far, tar) in curves.items():
        if len(far) == 0 or len(far) != len(tar):
            raise ValueError(
                f"curve {name!r} of {title!r} has {len(far)} FAR and {len(tar)} TAR values; "
                "expected as many of both, at least one"
            )
        positive = np.asarray(far)[np.asarray(far) > 0]
        smallest = min([smallest, *positive.tolist()])
        index = order.index(name)
        # Steps, because between two scores no threshold does better. FAR 0 cannot stand on a log axis: the
        # step to the first impostor begins at the left edge.
        axes.step(
            np.maximum(far, 1e-12),
            tar,
            where="post",
            label=math_name(name),
            color=COLOURS[index % len(COLOURS)],
            linestyle=LINES[index % len(LINES)],
            linewidth=1.8,
        )
    axes.set_xscale("log")
    axes.set_xlim(min(smallest, 0.1), 1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("false accept rate")
    axes.set_title(math_name(title), fontsize=11)
    tidy(axes, "both")


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
