"""Fig. 7: accuracy and stored parameters against where the shared tail starts, from runs and their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from btnet.evaluation.plots import COLOURS, LINES, new_figure, tidy
from btnet.evaluation.summary import average
from btnet.method.btnet import BTNet
from btnet.method.coupling import Unit, unit_index
from btnet.serving.loading import load_model
from btnet_lab.analysis.output import TableRow
from btnet_lab.report.identity import same_place
from btnet_lab.report.results import ResultFile, find_results, number, pair_label, read_results, sides_of
from btnet_lab.style import MARKERS, SERIES


@dataclass(frozen=True)
class Allocation:
    """One branch of one run.

    Attributes:
        run: its folder.
        resolution: r in px.
        stage: "Stage 3+", or the unit where the tail starts.
        tail_from: that unit.
        position: of that unit in the trunk, for the order.
        num_learnt: parameters that training changes.
        num_stored: elements of the overlay.
        num_trunk: parameters of the trunk.
        accuracy: by pair of resolutions ("112&14"), average over sets, in [0, 1]; None where a set lacks it.
        num_sets: that are averaged, by pair.
    """

    run: str
    resolution: int
    stage: str
    tail_from: str
    position: int
    num_learnt: int
    num_stored: int
    num_trunk: int
    accuracy: dict[str, float | None]
    num_sets: dict[str, int]


def read_allocations(runs: Iterable[str | Path], results: Iterable[str | Path] = ()) -> list[Allocation]:
    """Read branches and results of runs, ordered by where the tail starts.

    Args:
        runs: folders with trunk and branches.
        results: result files of `btnet evaluate` in which the runs are found by their paths; without, each
            run's own results/*.json are read.
    """
    shared = [read_results(path) for path in find_results(results)]
    found = []
    for run in map(Path, runs):
        model = load_model(run).module
        if not isinstance(model, BTNet):
            raise ValueError(
                f"{run}: no branch in it; give runs of trunk and branches that differ in tail_from"
            )
        files = shared or [read_results(path) for path in find_results([run])]
        for resolution in model.resolutions:
            found.append(_allocation(run, model, resolution, files))
    return sorted(found, key=lambda a: (a.position, -a.resolution))


def stage_label(units: Sequence[Unit], tail_from: str) -> str:
    """What fig. 7 calls it: "Stage x+" where the tail starts behind unit 1 of stage x, else the unit's name."""
    start = unit_index(units, tail_from)
    if start and units[start - 1].stride > 1:
        return f"Stage {sum(unit.stride > 1 for unit in units[:start])}+"
    return tail_from


def rows(allocations: Sequence[Allocation]) -> Iterator[TableRow]:
    """The table, a row per branch and pair of resolutions."""
    for a in allocations:
        for pair, accuracy in a.accuracy.items():
            yield {
                "run": a.run,
                "resolution_px": a.resolution,
                "stage": a.stage,
                "tail_from": a.tail_from,
                "learnt": a.num_learnt,
                "stored": a.num_stored,
                "share_learnt": a.num_learnt / a.num_trunk,
                "pair": pair,
                "num_sets": a.num_sets[pair],
                "accuracy": accuracy,
            }


def draw(allocations: Sequence[Allocation]) -> Figure:
    """Accuracy above, stored parameters below, over the same axis."""
    stages = list(dict.fromkeys(a.stage for a in allocations))
    resolutions = sorted({a.resolution for a in allocations}, reverse=True)
    figure = new_figure(max(5.2, 1.15 * len(stages) + 1.6), 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for index, pair in enumerate(dict.fromkeys(pair for a in allocations for pair in a.accuracy)):
        points = [(stages.index(a.stage), a.accuracy[pair]) for a in allocations if pair in a.accuracy]
        known = [(x, y) for x, y in points if y is not None]
        above.plot(
            [x for x, _ in known],
            [y for _, y in known],
            label=pair,
            color=COLOURS[index % len(COLOURS)],
            linestyle=LINES[index % len(LINES)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=6,
            linewidth=1.6,
        )
    above.set_ylabel("10-fold accuracy")
    above.yaxis.set_major_formatter(PercentFormatter(1.0))
    above.margins(y=0.15)
    above.legend(frameon=False, ncols=3, fontsize=9)
    width = 0.7 / len(resolutions)
    for order, resolution in enumerate(resolutions):
        of_this = [a for a in allocations if a.resolution == resolution]
        places = [stages.index(a.stage) + (order - (len(resolutions) - 1) / 2) * width for a in of_this]
        bars = below.bar(
            places,
            [a.num_stored / 1e6 for a in of_this],
            0.92 * width,
            color=SERIES[(order + 1) % len(SERIES)],
            label=f"{resolution} px",
        )
        texts = [f"{a.num_stored / 1e6:.3g}\n({100 * a.num_learnt / a.num_trunk:.1f} %)" for a in of_this]
        below.bar_label(bars, texts, fontsize=8, padding=2)
    below.set_xticks(range(len(stages)), stages)
    below.set_xlabel("where the shared tail starts (Stage x+: behind unit 1 of stage x)")
    below.set_ylabel("stored parameters, M\n(learnt, of the trunk)")
    below.margins(y=0.35)
    if len(resolutions) > 1:
        below.legend(frameon=False)
    tidy(above)
    tidy(below)
    return figure


def _allocation(run: Path, model: BTNet, resolution: int, files: Sequence[ResultFile]) -> Allocation:
    trunk = model.trunk
    overlay = model.overlay(resolution)
    by_pair = _accuracies(run, resolution, files)
    if not by_pair:
        raise ValueError(
            f"{run}: no accuracy at {resolution} px among {', '.join(str(file.path) for file in files)}; "
            "evaluate the run with `btnet evaluate`, and give that file to `btnet-lab analyse allocation --results`"
        )
    return Allocation(
        run=str(run),
        resolution=resolution,
        stage=stage_label(trunk.units(), overlay.tail_from),
        tail_from=overlay.tail_from,
        position=unit_index(trunk.units(), overlay.tail_from),
        num_learnt=overlay.num_learnt,
        num_stored=overlay.num_stored,
        num_trunk=sum(p.numel() for p in trunk.parameters()),
        accuracy={pair: average(values) for pair, values in by_pair.items()},
        num_sets={pair: len(values) for pair, values in by_pair.items()},
    )


def _accuracies(run: Path, resolution: int, files: Sequence[ResultFile]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for file in files:
        for result_set in file.sets if file.task == "verification" else ():
            for entry in result_set.results:
                pair = pair_label(entry.get("pair"))
                place = file.identity_of(entry.get("model")).path
                if place and same_place(place, str(run.resolve())) and resolution in sides_of(pair):
                    found.setdefault(pair, []).append(number(entry.get("accuracy")))
    return found
