"""Fig. 8: which branch a native face of W x H px goes to, for the nine strategies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from btnet.evaluation.plots import new_figure
from btnet.serving.selection import INDICATORS, RULES, select
from btnet_lab.analysis.output import TableRow
from btnet_lab.style import SERIES

Maps = Mapping[tuple[str, str], NDArray[np.int64]]


def selection_map(resolutions: Sequence[int], max_size: int) -> dict[tuple[str, str], NDArray[np.int64]]:
    """The answer of `btnet.inference.select` for every size up to `max_size`.

    Returns:
        (indicator, rule) -> resolutions [height - 1, width - 1], in px.
    """
    if max_size < 1:
        raise ValueError(f"largest size {max_size} px: expected at least 1")
    sides = range(1, max_size + 1)
    return {
        (indicator, rule): np.array(
            [[select(width, height, resolutions, indicator, rule) for width in sides] for height in sides]
        )
        for indicator in INDICATORS
        for rule in RULES
    }


def rows(maps: Maps) -> Iterator[TableRow]:
    """The table, a row per strategy and size of a face."""
    for (indicator, rule), chosen in maps.items():
        for (y, x), resolution in np.ndenumerate(chosen):
            yield {
                "indicator": indicator,
                "rule": rule,
                "width_px": x + 1,
                "height_px": y + 1,
                "resolution_px": int(resolution),
            }


def draw(maps: Maps, resolutions: Sequence[int]) -> Figure:
    """A map per strategy: indicators in rows, rules in columns, a shade per resolution."""
    ordered = sorted(set(resolutions), reverse=True)
    shades = [SERIES[i % len(SERIES)] for i in range(len(ordered))]
    levels = ListedColormap(shades[::-1])
    norm = BoundaryNorm(np.arange(len(ordered) + 1) - 0.5, len(ordered))
    figure = new_figure(7.0, 7.4)
    all_axes = figure.subplots(len(INDICATORS), len(RULES), sharex=True, sharey=True)
    for (indicator, rule), chosen in maps.items():
        axes = all_axes[INDICATORS.index(indicator), RULES.index(rule)]
        size = len(chosen)
        index = np.searchsorted(ordered[::-1], chosen)
        extent = (0.5, size + 0.5, 0.5, size + 0.5)
        axes.imshow(index, cmap=levels, norm=norm, interpolation="nearest", origin="lower", extent=extent)
        axes.set_title(f"{indicator} + {rule}", fontsize=11)
        ticks = [r for r in ordered if r <= size]
        axes.set_xticks(ticks)
        axes.set_yticks(ticks)
        axes.tick_params(labelsize=8)
        axes.tick_params(axis="x", rotation=90)
        if RULES.index(rule) == 0:
            axes.set_ylabel("height, px")
        if INDICATORS.index(indicator) == len(INDICATORS) - 1:
            axes.set_xlabel("width, px")
    figure.legend(
        [Patch(facecolor=shade, edgecolor="#555555", linewidth=0.6) for shade in shades],
        [f"{r} px" for r in ordered],
        loc="outside lower center",
        ncols=len(ordered),
        frameon=False,
        title="network that embeds the face",
    )
    return figure
