"""The paper's figures, drawn from the numbers that `btnet_lab.evidence.figures` stored, and their captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from btnet.evaluation.plots import COLOURS, math_name, new_figure, tidy
from btnet_lab.analysis import (
    architecture,
    cost_picture,
    feature_maps,
    pyramids,
    selection_map,
    upsampling_error,
)
from btnet_lab.analysis.cost import Cost
from btnet_lab.evidence.figure_maps import MAPS_PX, read_levels, read_models
from btnet_lab.evidence.groups import FULL, grouped, named_rows
from btnet_lab.evidence.plan import RESOLUTIONS
from btnet_lab.evidence.record import Record
from btnet_lab.report.set_plots import draw_drops, draw_radar
from btnet_lab.report.verification_scores import pair_key
from btnet_lab.style import MARKERS, family_styles, legend_below

_BRANCH, _HIGH_RESOLUTION = "phi_bt", "phi_hr"
_TRUNK = "the given trunk"
Data = Mapping[str, Any]


def figure_pictures(figures: Mapping[str, Data]) -> dict[str, Figure]:
    """Pictures by name, in the order of the paper, of the figures whose data are there."""
    return {name: draw(figures[source]) for name, (source, draw) in _PICTURES.items() if source in figures}


def shown_models(folds: Data) -> list[str]:
    """Labels that fig. 6 shows: the best of each family by the mean over all pairs, in the order of Table 2."""
    best: dict[str, str] = {}
    for label, by_pair in folds.items():
        family = label.partition(" ")[0].rstrip(",")
        if family not in best or _mean(by_pair) > _mean(folds[best[family]]):
            best[family] = label
    return [label for label in folds if label in best.values()]


def _mean(by_pair: Data) -> float:
    return float(np.mean([values for pair, values in by_pair.items() if pair != FULL]))


def _errors(data: Data) -> dict[str, list[upsampling_error.SizeError]]:
    return {
        name: [upsampling_error.SizeError(*row[:3]) for row in rows] for name, rows in data["errors"].items()
    }


def _error_bound(data: Data) -> Figure:
    figure = new_figure(5.6, 3.8)
    bound = upsampling_error.ERROR_BOUND
    upsampling_error.draw(figure.add_subplot(), bound, _errors(data), data["num_faces"], RESOLUTIONS)
    return figure


def _upsampling(data: Data) -> Figure:
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2)
    marked = [point["resolution"] for point in data["cosine"] if point["model"] == _BRANCH]
    upsampling_error.draw(left, upsampling_error.DOWN_UP, _errors(data), data["num_faces"], marked)
    for index, model in enumerate((_HIGH_RESOLUTION, _BRANCH)):
        points = sorted((p["resolution"], p["mean"], p["std"]) for p in data["cosine"] if p["model"] == model)
        if not points:
            continue
        right.errorbar(
            [r for r, _, _ in points],
            [mean for _, mean, _ in points],
            [std for _, _, std in points],
            label=math_name(model),
            color=COLOURS[3 * index],
            linestyle="-" if index == 0 else "--",
            marker=MARKERS[index],
            capsize=2,
            linewidth=1.5,
        )
    right.set_xlim(left.get_xlim())
    right.set_xticks(left.get_xticks())
    right.set_xlabel("resolution of the face, px")
    right.set_ylabel("cosine with the trunk's embedding\nof the full face")
    right.axhline(0, color="#555555", linewidth=0.8)
    right.legend(frameon=False, loc="center right")
    tidy(right)
    return figure


def _pyramids(data: Data) -> Figure:
    return pyramids.draw(read_levels(data))


def _feature_maps(data: Data) -> Figure:
    return feature_maps.draw(read_models(data))


def _agreement(data: Data) -> Figure:
    """How similar a model's features of the small face are to the trunk's of the full face, stage by stage."""
    found = data["agreement"]
    resolutions = sorted({each["resolution"] for each in found}, reverse=True)
    labels = list(dict.fromkeys(each["model"] for each in found))
    styles = family_styles(labels)
    figure = new_figure(3.3 * len(resolutions) + 0.6, 3.7)
    all_axes = figure.subplots(1, len(resolutions), sharey=True, squeeze=False)[0]
    for each in found:
        axes: Axes = all_axes[resolutions.index(each["resolution"])]
        means = [stage["mean"] for stage in each["stages"]]
        axes.plot(
            range(len(means)),
            means,
            label=math_name(each["model"]),
            linewidth=1.5,
            markersize=5,
            **styles[each["model"]],
        )
        axes.set_xticks(range(len(means)), [*map(str, range(1, len(means))), "emb."])
    for axes, r in zip(all_axes, resolutions, strict=True):
        axes.set_title(f"faces of {r} px", fontsize=11)
        axes.set_xlabel("end of stage; embedding")
        tidy(axes)
    all_axes[0].set_ylabel("similarity to the trunk's\nfeatures of the full face")
    legend_below(figure, list(all_axes), min(len(labels), 4))
    return figure


def _costs(data: Data) -> Figure:
    return cost_picture.draw({_TRUNK: [Cost(**cost) for cost in data["costs"]]})


def _by_fold(folds: Data) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Accuracies at full resolution, and below it: {pair: {model: {fold: accuracy}}}."""
    shown = {label: folds[label] for label in shown_models(folds)}
    tests: dict[str, dict[str, Any]] = {}
    for pair in sorted({pair for by_pair in shown.values() for pair in by_pair}, key=pair_key):
        tests[pair] = {
            label: {str(i): value for i, value in enumerate(by_pair[pair], start=1)}
            for label, by_pair in shown.items()
            if pair in by_pair
        }
    # Every branch leaves the trunk's own answer as it is.
    return tests.pop(FULL, {}), tests


def _radar(folds: Data) -> Figure:
    return draw_radar(_by_fold(folds)[1])


def _drops(folds: Data) -> Figure:
    high, tests = _by_fold(folds)
    if _HIGH_RESOLUTION in high and _BRANCH not in high:
        high = {**high, _BRANCH: high[_HIGH_RESOLUTION]}
    return draw_drops(high, tests)


def _selection(data: Data) -> Figure:
    resolutions = data["resolutions"]
    return selection_map.draw(selection_map.selection_map(resolutions, data["largest_px"]), resolutions)


def _architecture(data: Data) -> Figure:
    facts = {int(r): [architecture.UnitFacts(**unit) for unit in units] for r, units in data.items()}
    return architecture.draw(facts, _TRUNK)


_PICTURES: Final[dict[str, tuple[str, Callable[[Data], Figure]]]] = {
    "fig1": ("error_bound", _error_bound),
    "down_up": ("upsampling", _upsampling),
    "fig3": ("maps", _pyramids),
    "fig4_5": ("costs", _costs),
    "fig6_radar": ("folds", _radar),
    "fig6_drop": ("folds", _drops),
    "fig8": ("selection", _selection),
    "fig9": ("architecture", _architecture),
    "fig10": ("maps", _feature_maps),
    "agreement": ("maps", _agreement),
}
"""Name of a picture -> the figure whose data it draws, and what draws it."""


def captions(records: Sequence[Record], figures: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By name of the picture."""
    rows = {
        place: named_rows(record for group in grouped(records, place).values() for record in group)
        for place in ("table2", "fig7", "beyond", "passes", "identities")
    }
    found = {
        "accuracy": "Accuracy on people never trained on, from large faces to small; bars: standard deviation over "
        f"seeds. Rows {rows['table2']}.",
        "rivals": "phi_bt minus each other model of Table 2, a panel for each pair of resolutions: right of the line "
        "phi_bt is better. Lines: 95 % of the bootstrap over people; full points: significant. "
        f"Rows {rows['table2']}.",
        "fig7": "Fig. 7: accuracy (above) and stored parameters (below) by where the shared tail starts. "
        f"Rows {rows['fig7']}.",
        "beyond": "Each switch minus plain phi_bt, a panel for each pair of resolutions: right of the line the switch "
        f"is better. Lines: 95 % of the bootstrap over people; full points: significant. Rows {rows['beyond']}.",
        "learning": "Errors by images seen, and by people with the same number of images seen; both axes logarithmic, "
        "bars: standard deviation over seeds. Dotted: least-squares line, extrapolated to the size of MS1MV3; it "
        "assumes no floor and is no measurement. "
        f"Rows {' and '.join(rows[place] for place in ('passes', 'identities') if rows[place])}.",
        "fig4_5": "Figs. 4 and 5: what each resolution stores beside the trunk, and what a face costs to embed; "
        "counted on the given trunk.",
        "fig8": "Fig. 8: the network that embeds a native face, by its size; indicators in rows, rules in columns.",
        "fig9": "Fig. 9: units, strides and sizes of the given trunk and of its branches, and which parameters learn.",
    }
    if "error_bound" in figures:
        found["fig1"] = (
            "Fig. 1: upper bound of the error that enlarging a face bilinearly introduces (eq. 11 and 12), mean of "
            f"{figures['error_bound']['num_faces']} test faces and of their pixels, relative to 112 px "
            "(band: standard deviation over faces)."
        )
    if "upsampling" in figures:
        num_faces = figures["upsampling"]["num_faces"]
        found["down_up"] = (
            f"Beside fig. 1: what shrinking loses, over {num_faces} test faces. Left: pixel error, enlarged again "
            "(band: standard deviation, bilinear). Right: cosine with the trunk's embedding of the full face, phi_hr "
            "on faces enlarged again and for the branches of phi_bt on small faces as they are (bars: standard "
            "deviation over faces)."
        )
    if "folds" in figures:
        shown = ", ".join(shown_models(figures["folds"]))
        found["fig6_radar"] = (
            f"Fig. 6: accuracy set by set, where the ten folds of the test pairs stand in for data sets: {shown} (of "
            "each family the best on average)."
        )
        found["fig6_drop"] = (
            "Fig. 6: accuracy lost against full resolution, for the same models; lines: from the fold that loses least "
            "to the one that loses most."
        )
    if "maps" in figures:
        maps = figures["maps"]
        models = ", ".join(dict.fromkeys(model["model"] for model in maps["models"]))
        found["fig3"] = (
            "Fig. 3: a rendered face at each resolution, the trunk's feature map of the full face at that resolution, "
            "and the branch's feature map of the shrunk face, trained to match it. Sums over channels, each on its "
            "own scale."
        )
        found["fig10"] = (
            f"Fig. 10: feature maps of {models} for a rendered face of {MAPS_PX} px, below phi_hr's at full size; "
            "corr.: correlation with the same model's feature map of the full face."
        )
        found["agreement"] = (
            f"Figs. 3 and 10 in numbers, over {maps['num_faces']} test faces: correlation of the feature maps of the "
            "shrunk face with the given trunk's of the full face, at the end of each stage; cosine of the embeddings. "
            f"Rows {rows['table2']}, first seeds."
        )
    return found
