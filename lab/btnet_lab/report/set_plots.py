"""Pictures of accuracies: by pair of resolutions, set by set as radar charts (fig. 6), and how unevenly they drop."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import PercentFormatter

from btnet.evaluation.plots import math_name, new_figure, tidy
from btnet_lab.style import colour_of, family_styles, legend_below

MIN_RADAR_SETS = 3
BySet = Mapping[str, float | None]


def draw_radar(tests: Mapping[str, Mapping[str, BySet]]) -> Figure:
    """One radar chart per test: a spoke per set, a polygon per model (fig. 6).

    A polygon is drawn only for models with a number on every set. All charts share one radial axis.

    Args:
        tests: name of the test ("112&14") -> name of the model -> name of the set -> accuracy in [0, 1].
    """
    sets = list(dict.fromkeys(name for by_model in tests.values() for by in by_model.values() for name in by))
    models = list(dict.fromkeys(name for by_model in tests.values() for name in by_model))
    styles = family_styles(models)
    if len(sets) < MIN_RADAR_SETS:
        raise ValueError(
            f"a radar chart of {len(sets)} sets has no area; expected {MIN_RADAR_SETS} or more: {', '.join(sets)}"
        )
    drawn = {
        test: {model: values for model, by in by_model.items() if (values := _on_all(by, sets)) is not None}
        for test, by_model in tests.items()
    }
    numbers = [number for by_model in drawn.values() for values in by_model.values() for number in values]
    if not numbers:
        raise ValueError(
            f"no model has an accuracy on each of the sets {', '.join(sets)}; evaluate one on all"
        )
    inner = max(0.0, math.floor(10 * min(numbers) - 0.2) / 10)
    angles = np.linspace(0, 2 * np.pi, len(sets), endpoint=False)
    columns = min(3, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure(3.9 * columns, 3.8 * rows + 0.4)
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(h_pad=0.15)
    for index, (test, by_model) in enumerate(drawn.items()):
        axes = figure.add_subplot(rows, columns, index + 1, projection="polar")
        assert isinstance(axes, PolarAxes)
        _spokes(axes, angles, sets, inner)
        axes.set_title(math_name(test), fontsize=11, pad=16)
        for name, values in by_model.items():
            closed = [*values, values[0]]
            axes.plot(
                [*angles, angles[0]],
                closed,
                label=math_name(name),
                markersize=3.5,
                linewidth=1.6,
                **styles[name],
            )
    legend_below(figure, figure.axes, min(len(models), 5))
    return figure


def draw_accuracies(
    kinds: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], *, ylabel: str
) -> Figure:
    """A point per model and pair of resolutions, with a bar of one standard deviation where there are several numbers.

    Args:
        kinds: title of a panel ("cross-resolution") -> pair, in the order of the axis -> name of the model ->
            accuracies in [0, 1], such as one for each seed; none: no point.
        ylabel: what is shown, e.g. "10-fold accuracy, average of 6 sets".
    """
    models = list(
        dict.fromkeys(name for pairs in kinds.values() for by_model in pairs.values() for name in by_model)
    )
    styles = family_styles(models)
    widths = [len(pairs) + 0.6 for pairs in kinds.values()]
    figure = new_figure(min(1.1 * sum(widths) + 1.2, 9.6), 4.4)
    all_axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axes, (kind, pairs) in zip(all_axes, kinds.items(), strict=True):
        for order, name in enumerate(models):
            samples = {i: by[name] for i, by in enumerate(pairs.values()) if by.get(name)}
            # A little apart, so that bars do not hide each other.
            places = [i + 0.02 * (order - len(models) / 2) for i in samples]
            plot_means(axes, places, list(samples.values()), label=math_name(name), **styles[name])
        axes.set_xticks(range(len(pairs)), list(map(math_name, pairs)))
        axes.set_xlim(-0.4, len(pairs) - 0.6)
        axes.set_xlabel("gallery & probe, px")
        axes.set_title(math_name(kind), fontsize=11)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        tidy(axes)
    all_axes[0].set_ylabel("\n".join(map(math_name, ylabel.splitlines())))
    legend_below(figure, list(all_axes), min(len(models), 3))
    return figure


def plot_means(axes: Axes, x: Sequence[float], samples: Sequence[Sequence[float]], **style: Any) -> None:
    """A curve of means; bars of one standard deviation (n - 1) where a sample has two numbers or more."""
    stds = [float(np.std(sample, ddof=1)) if len(sample) > 1 else 0.0 for sample in samples]
    axes.errorbar(
        x,
        [float(np.mean(sample)) for sample in samples],
        stds if any(stds) else None,
        capsize=2,
        markersize=5,
        linewidth=1.4,
        **style,
    )


def accuracy_lost(high: BySet, low: BySet) -> dict[str, float]:
    """What each set loses from full resolution, of the sets that have a number at both."""
    return {
        name: first - second
        for name, first in high.items()
        if first is not None and (second := low.get(name)) is not None
    }


def draw_drops(high: Mapping[str, BySet], tests: Mapping[str, Mapping[str, BySet]]) -> Figure:
    """Accuracy lost against full resolution: the mean over sets, and from the least to the most hurt set.

    Args:
        high: name of the model -> name of the set -> accuracy at 112&112.
        tests: as for `draw_radar`, the pairs of resolutions to compare with it.
    """
    models = list(high)
    drops = {
        (test, model): list(lost.values())
        for test, by_model in tests.items()
        for model in models
        if (lost := accuracy_lost(high[model], by_model.get(model, {})))
    }
    if not drops:
        raise ValueError("no model has an accuracy both at full resolution and below; evaluate one at both")
    figure = new_figure(max(4.6, 1.3 * len(tests) + 2.2), 3.6)
    axes = figure.add_subplot()
    width = 0.7 / len(models)
    for order, model in enumerate(models):
        places, found = [], []
        for index, test in enumerate(tests):
            if (test, model) in drops:
                places.append(index + (order - (len(models) - 1) / 2) * width)
                found.append(drops[test, model])
        means = [float(np.mean(lost)) for lost in found]
        axes.bar(places, means, 0.86 * width, color=colour_of(model, models), label=math_name(model))
        below = [mean - min(lost) for mean, lost in zip(means, found, strict=True)]
        above = [max(lost) - mean for mean, lost in zip(means, found, strict=True)]
        axes.errorbar(places, means, [below, above], fmt="none", ecolor="#333333", capsize=3, linewidth=1.2)
    axes.set_xticks(range(len(tests)), list(map(math_name, tests)))
    axes.set_xlabel("gallery & probe, px")
    axes.set_ylabel("accuracy lost against full resolution")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.axhline(0, color="#333333", linewidth=0.8)
    tidy(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


def _on_all(by_set: BySet, sets: Sequence[str]) -> list[float] | None:
    values = [value for name in sets if (value := by_set.get(name)) is not None]
    return values if len(values) == len(sets) else None


def _spokes(axes: PolarAxes, angles: np.ndarray, sets: Sequence[str], inner: float) -> None:
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, list(map(math_name, sets)), fontsize=9)
    for label, angle in zip(axes.get_xticklabels(), angles, strict=True):
        sine = math.sin(angle)
        label.set_horizontalalignment("center" if abs(sine) < 0.1 else "left" if sine > 0 else "right")
    axes.set_ylim(inner, 1.0)
    step = 0.1 if inner >= 0.6 else 0.2
    axes.set_yticks(np.arange(1.0, inner + 1e-9, -step)[::-1])
    axes.set_rlabel_position(180 / len(sets))
    axes.tick_params(axis="y", labelsize=7, labelcolor="#555555")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines["polar"].set_color("#bbbbbb")
