"""Pictures of an evidence run's result files: accuracy, learning curves, where the tail starts, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from btnet.evaluation.plots import COLOURS, LINES, math_name, new_figure, tidy
from btnet_lab.analysis import allocation
from btnet_lab.evidence.groups import FULL, Groups, difference, grouped, mean, members, pairs_of, values
from btnet_lab.evidence.learning import CURVES, PAPERS_SIZE, Curve, curves
from btnet_lab.evidence.record import Record
from btnet_lab.evidence.statements import BRANCH, beyond_name
from btnet_lab.report.set_plots import draw_accuracies, plot_means
from btnet_lab.report.verification_scores import pair_key
from btnet_lab.style import MARKERS, legend_below

Comparisons = Sequence[Mapping[str, Any]]


def pictures(records: Sequence[Record], comparisons: Comparisons) -> dict[str, Figure]:
    """Figures by name, as far as there are numbers for them."""
    found = {}
    table2 = grouped(records, "table2")
    if table2:
        found["accuracy"] = _accuracy(table2)
    if BRANCH in table2 and len(table2) > 1:
        rivals = {label: group for label, group in table2.items() if label != BRANCH}
        found["rivals"] = _differences(
            {label: (table2[BRANCH], group) for label, group in rivals.items()}, comparisons
        )
    if len(tails := grouped(records, "fig7")) > 1:
        found["fig7"] = _allocation(tails)
    switches = grouped(records, "beyond")
    if BRANCH in switches and len(switches) > 1:
        found["beyond"] = _differences(
            {
                beyond_name(label): (group, switches[BRANCH])
                for label, group in switches.items()
                if label != BRANCH
            },
            comparisons,
        )
    drawn = {place: found_curves for place in CURVES if (found_curves := curves(records, place))}
    if drawn:
        found["learning"] = _learning(drawn)
    return found


def _accuracy(groups: Groups) -> Figure:
    """A point per model and pair, from large faces to small; bars of one standard deviation over seeds."""
    pairs = sorted(pairs_of(groups), key=lambda pair: -pair_key(pair)[1])
    return draw_accuracies(
        {
            kind: {
                pair: {label: values(group, pair) for label, group in groups.items()}
                for pair in pairs
                if pair_key(pair)[0] is same
            }
            for kind, same in (("cross-resolution", False), ("same resolution", True))
        },
        ylabel="10-fold accuracy",
    )


def _allocation(groups: Groups) -> Figure:
    found = []
    for position, (label, group) in enumerate(sorted(groups.items())):
        first = group[0]
        found.append(
            allocation.Allocation(
                run=first.name,
                resolution=first.resolution,
                stage=label,
                tail_from=str(first.settings.get("tail_from", "")),
                position=position,
                num_learnt=first.num_learnt,
                num_stored=first.bytes_stored // 4,
                num_trunk=first.num_parameters,
                accuracy={pair: mean(group, pair) for pair in pairs_of({label: group}) if pair != FULL},
                num_sets=dict.fromkeys(first.accuracy, 1),
            )
        )
    return allocation.draw(found)


def _differences(
    rows: Mapping[str, tuple[Sequence[Record], Sequence[Record]]], comparisons: Comparisons
) -> Figure:
    """First minus second of each row, a panel per pair: the point, the interval over people; full: significant."""
    pairs = [pair for pair in pairs_of({label: first for label, (first, _) in rows.items()}) if pair != FULL]
    pairs = [
        pair
        for pair in pairs
        if any(members(first, pair) and members(second, pair) for first, second in rows.values())
    ]
    columns = 3
    num_lines = -(-len(pairs) // columns)
    figure = new_figure(10.4, num_lines * (0.34 * len(rows) + 1.0) + 0.5)
    all_axes = figure.subplots(num_lines, min(columns, len(pairs)), sharey=True, squeeze=False).ravel()
    for axes in all_axes[len(pairs) :]:
        axes.set_axis_off()
    for axes, pair in zip(all_axes, pairs, strict=False):
        axes.axvline(0, color="#555555", linewidth=0.8)
        for line, (first, second) in enumerate(rows.values()):
            found = difference(first, second, pair, comparisons)
            if found is None:
                continue
            if found.interval is not None:
                axes.plot(found.interval, (line, line), color=COLOURS[0], linewidth=1.6)
            axes.plot(
                found.points,
                line,
                "o",
                color=COLOURS[0],
                markersize=6,
                markerfacecolor=COLOURS[0] if found.significant else "white",
            )
        axes.set_title(pair, fontsize=11)
        tidy(axes, "x")
    all_axes[0].set_yticks(range(len(rows)), [math_name(label) for label in rows])
    all_axes[0].set_ylim(len(rows) - 0.5, -0.5)
    figure.supxlabel("difference, percentage points", fontsize=10)
    return figure


def _learning(drawn: Mapping[str, Sequence[Curve]]) -> Figure:
    """Error rate, both axes logarithmic; dotted: least-squares line, extrapolated to MS1MV3's size."""
    figure = new_figure(4.9 * len(drawn), 4.2)
    all_axes = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for axes, (place, found) in zip(all_axes, drawn.items(), strict=True):
        for index, curve in enumerate(found):
            colour = COLOURS[3 * index % len(COLOURS)]
            plot_means(
                axes,
                curve.sizes,
                curve.errors,
                label=curve.pair,
                color=colour,
                linestyle=LINES[index],
                marker=MARKERS[index],
            )
            ends = (curve.sizes[0], PAPERS_SIZE[place])
            line = [error for size in ends if (error := curve.error_at(size)) is not None]
            # A line that does not fall foretells nothing.
            if len(line) == len(ends) and line[1] < line[0]:
                axes.plot(ends, line, color=colour, linestyle=":", linewidth=1.2)
        axes.axvline(PAPERS_SIZE[place], color="#555555", linestyle=":", linewidth=1.0)
        axes.annotate("MS1MV3", (PAPERS_SIZE[place], 0.98), (-4, 0), xycoords=axes.get_xaxis_transform(),
                      textcoords="offset points", ha="right", va="top", color="#555555", fontsize=9)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(CURVES[place])
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        tidy(axes, "both")
    all_axes[0].set_ylabel("error rate")
    legend_below(figure, list(all_axes))
    return figure
