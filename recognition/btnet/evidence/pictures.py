"""Curves of an evidence run: accuracy as faces shrink, and against images seen and identities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from btnet.evaluation.set_plots import draw_averages
from btnet.evaluation.style import COLOURS, LINES, MARKERS, legend_below, new_figure, tidy
from btnet.evidence.record import Record
from btnet.report.verification_scores import pair_key

__all__ = ["pictures"]


def pictures(records: Sequence[Record]) -> dict[str, Figure]:
    """Figures by name, as far as there are numbers for them."""
    found = {}
    if any("table2" in record.places for record in records):
        found["accuracy"] = _by_resolution(records)
    curves = {
        "num_images": [r for r in records if "passes" in r.places],
        "num_identities": [r for r in records if "identities" in r.places],
    }
    if all(len({record.name for record in group}) > 1 for group in curves.values()):
        found["learning"] = _learning(curves["num_images"], curves["num_identities"])
    return found


def _by_resolution(records: Sequence[Record]) -> Figure:
    tests: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {
        "cross-resolution": {},
        "same resolution": {},
    }
    chosen = [record for record in records if "table2" in record.places]
    pairs = sorted({pair for record in chosen for pair in record.accuracy}, key=pair_key, reverse=True)
    for pair in pairs:
        same, low, _, _ = pair_key(pair)
        by_model: dict[str, dict[str, float | None]] = {}
        for record in chosen:
            if pair in record.accuracy and record.resolution in (0, low):
                by_model.setdefault(record.places["table2"], {})[f"seed {record.seed}"] = record.accuracy[
                    pair
                ]
        tests["same resolution" if same else "cross-resolution"][pair] = by_model
    kinds = {kind: by_pair for kind, by_pair in tests.items() if by_pair}
    return draw_averages(kinds, ylabel="10-fold accuracy")


def _learning(by_images: Sequence[Record], by_identities: Sequence[Record]) -> Figure:
    figure = new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2, sharey=True)
    seen = [(record.cost.num_images, record) for record in by_images]
    people = [(int(record.data["num_identities"]), record) for record in by_identities]
    _curve(left, seen, "images seen")
    _curve(right, people, "identities, as many images seen")
    left.set_ylabel("10-fold accuracy")
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend_below(figure, [left, right])
    return figure


def _curve(axes: Axes, points: Sequence[tuple[int, Record]], label: str) -> None:
    pairs = sorted(
        {pair for _, record in points for pair in record.accuracy if pair != "112&112"}, key=pair_key
    )
    for index, pair in enumerate(pairs):
        places = sorted({x for x, _ in points})
        values = [[record.accuracy[pair] for at, record in points if at == x] for x in places]
        axes.errorbar(
            places,
            [float(np.mean(v)) for v in values],
            [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values],
            label=pair,
            color=COLOURS[index],
            linestyle=LINES[index],
            marker=MARKERS[index],
            capsize=3,
        )
    axes.set_xscale("log")
    axes.set_xlabel(label)
    tidy(axes, "both")
