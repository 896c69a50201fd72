"""Figs. 4 and 5: what each resolution stores and computes, side by side for several trunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from btnet.evaluation.plots import new_figure, tidy
from btnet_lab.analysis.cost import Cost
from btnet_lab.analysis.output import TableRow
from btnet_lab.style import SERIES, legend_below

Costs = Mapping[str, Sequence[Cost]]


def rows(costs: Costs) -> Iterator[TableRow]:
    """The table, a row per network and resolution."""
    for name, found in costs.items():
        for c in found:
            yield {
                "network": name,
                "resolution_px": c.resolution,
                "flops": c.flops,
                "learnt": c.learnt,
                "learnt_authors": c.learnt_authors,
                "stored_bytes": c.stored_bytes,
                "share_learnt": c.share,
                "share_learnt_authors": c.share_authors,
            }


def draw(costs: Costs) -> Figure:
    """Bars per network and resolution: stored MB on the left, GFLOPs per face on the right."""
    figure = new_figure(max(8.4, 2.3 * len(costs) + 3.0), 4.0)
    left, right = figure.subplots(1, 2)
    _bars(
        left, costs, lambda c: c.stored_bytes / 1e6, lambda c: f"{100 * c.share:.1f} %" if c.share < 1 else ""
    )
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    left.yaxis.set_major_formatter("{x:g}")
    left.yaxis.set_minor_formatter(NullFormatter())
    left.set_ylim(top=left.get_ylim()[1] * 1.6)
    left.set_ylabel("stored per resolution, MB (float32)")
    left.set_title("stored; labels: learnt, % of the trunk", fontsize=11)
    _bars(right, costs, lambda c: c.flops / 1e9, lambda c: f"{c.flops / 1e9:.3g}")
    right.set_ylabel("arithmetic per face, GFLOPs")
    right.set_title("computed per face", fontsize=11)
    legend_below(figure, [left])
    return figure


def _bars(axes: Axes, costs: Costs, height: Callable[[Cost], float], text: Callable[[Cost], str]) -> None:
    resolutions = sorted({c.resolution for found in costs.values() for c in found}, reverse=True)
    width = 0.84 / len(resolutions)
    for order, resolution in enumerate(resolutions):
        found = [(i, c) for i, by in enumerate(costs.values()) for c in by if c.resolution == resolution]
        places = [i + (order - (len(resolutions) - 1) / 2) * width for i, _ in found]
        bars = axes.bar(
            places,
            [height(c) for _, c in found],
            0.92 * width,
            color=SERIES[order % len(SERIES)],
            edgecolor="#08306b",
            linewidth=0.5,
            label=f"{resolution} px",
        )
        axes.bar_label(
            bars, [text(c) for _, c in found], fontsize=7, padding=2, rotation=90 if len(costs) > 1 else 0
        )
    axes.set_xticks(range(len(costs)), list(costs))
    axes.margins(y=0.12)
    tidy(axes)
