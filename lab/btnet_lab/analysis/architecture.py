"""Fig. 9: units, strides and sizes of each resolution's network, and which of its parameters learn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.evaluation.plots import COLOURS, new_figure
from btnet.method.btnet import BTNet
from btnet.method.coupling import Unit, unit_index
from btnet_lab.analysis.output import TableRow
from btnet_lab.style import TIMES

_FACES = {"trunk": "#b9dbf1", "branch": "#f6c9a8", "tail": "#efefef"}
_MEANING = {
    "branch": "branch: all of it learns",
    "tail": "tail: the trunk's convolutions, own BatchNorms learn",
    "trunk": "trunk: frozen",
}


@dataclass(frozen=True)
class UnitFacts:
    """A unit of one resolution's network.

    Attributes:
        resolution: of the network in px.
        unit: name.
        part: "trunk", "branch" (all its own) or "tail" (shared but for BatchNorms).
        couples: whether it is the coupling layer of this resolution.
        stride: by how much it reduces the size in this network.
        size: width of its output in px, None for the embedding.
        channels: of its output.
        num_parameters: that it applies.
        num_learnt: of these, what the branch's training changes (the paper's definition); 0 in the trunk.
    """

    resolution: int
    unit: str
    part: str
    couples: bool
    stride: int
    size: int | None
    channels: int
    num_parameters: int
    num_learnt: int


def architecture(
    trunk: Backbone, resolutions: Iterable[int], *, tail_from: str | None = None
) -> dict[int, list[UnitFacts]]:
    """Ask a model what it is made of.

    Args:
        trunk: its parameters get frozen, as `BTNet` does; on the meta device nothing is computed.
        resolutions: of the branches in px.
        tail_from: unit where the shared tail starts; None: behind the coupling layer.

    Returns:
        Units in order, by resolution from the canonical size down.
    """
    model = BTNet(trunk, resolutions, tail_from=tail_from)
    return {r: _facts(model, r) for r in (trunk.canonical_size, *model.resolutions)}


def rows(facts: dict[int, list[UnitFacts]]) -> Iterator[TableRow]:
    """The table, a row per unit of each resolution's network."""
    for units in facts.values():
        for f in units:
            yield {
                "resolution_px": f.resolution,
                "unit": f.unit,
                "part": f.part,
                "coupling_layer": int(f.couples),
                "stride": f.stride,
                "output_px": f.size,
                "channels": f.channels,
                "parameters": f.num_parameters,
                "learnt": f.num_learnt,
            }


def draw(facts: dict[int, list[UnitFacts]], title: str) -> Figure:
    """A row of boxes per resolution; units in a row that only repeat are one box."""
    groups = _groups(list(facts.values()))
    widths = [1.0 if len(group) == 1 else 1.25 for group in groups]
    starts = [sum(widths[:i]) + 0.12 * i for i in range(len(groups))]
    right = starts[-1] + widths[-1]
    figure = new_figure(0.86 * right + 2.4, 0.78 * len(facts) + 1.5)
    axes = figure.add_subplot()
    total = sum(f.num_parameters for f in next(iter(facts.values())))
    for row, (resolution, units) in enumerate(facts.items()):
        y = -row
        axes.text(-0.2, y, f"{resolution} px", ha="right", va="center", fontsize=11, fontweight="bold")
        for start, width, group in zip(starts, widths, groups, strict=True):
            _box(axes, start, y, width, [units[i] for i in group])
        learnt = sum(f.num_learnt for f in units)
        text = f"{total / 1e6:.2f} M" if row == 0 else f"{learnt / 1e6:.2f} M\n{100 * learnt / total:.1f} %"
        axes.text(right + 0.25, y, text, ha="left", va="center", fontsize=9)
    for start, width, group in zip(starts, widths, groups, strict=True):
        names = [units[i].unit for i in group]
        axes.text(
            start + width / 2,
            0.52,
            _label(names),
            ha="left",
            va="bottom",
            fontsize=8,
            rotation=30,
            color="#333333",
        )
    axes.text(
        right + 0.25,
        0.52,
        "parameters;\nlearnt, of trunk",
        ha="left",
        va="bottom",
        fontsize=8,
        color="#333333",
    )
    axes.set_xlim(-1.1, right + 1.5)
    axes.set_ylim(-len(facts) + 0.5, 1.35)
    axes.set_axis_off()
    axes.set_title(title, fontsize=12, fontweight="bold", pad=2)
    _legend(figure)
    return figure


def _facts(model: BTNet, resolution: int) -> list[UnitFacts]:
    network, canonical = model.network(resolution), model.trunk.canonical_size
    is_trunk = resolution == canonical
    units = network.units()
    outputs = _outputs(network)
    learnt = {} if is_trunk else model.learnt_parameters(resolution)
    tail = len(units) if is_trunk else unit_index(units, model.tail_from[resolution])
    coupling_layer = None if is_trunk else network.coupling_layer(resolution)
    facts, before = [], resolution
    for index, unit in enumerate(units):
        output = outputs[unit.name]
        size = int(output.shape[-1]) if output.ndim == 4 else None
        facts.append(
            UnitFacts(
                resolution=resolution,
                unit=unit.name,
                part="trunk" if is_trunk else "branch" if index < tail else "tail",
                couples=unit.name == coupling_layer,
                stride=1 if size is None else before // size,
                size=size,
                channels=int(output.shape[1]),
                num_parameters=sum(p.numel() for p in _parameters(network, unit).values()),
                num_learnt=sum(p.numel() for key, p in _parameters(network, unit).items() if key in learnt),
            )
        )
        before = before if size is None else size
    return facts


def _outputs(network: Backbone) -> dict[str, Tensor]:
    """Outputs of all units on the meta device: shapes without arithmetic."""
    with torch.device("meta"):
        copy = network.fresh().eval()
        face = torch.empty(1, 3, network.input_size, network.input_size)
    with torch.no_grad():
        outputs: dict[str, Tensor] = copy(face, taps=[unit.name for unit in copy.units()])[1]
    return outputs


def _parameters(network: Backbone, unit: Unit) -> dict[str, Tensor]:
    return {
        f"{root}.{name}": parameter
        for root in unit.modules
        for name, parameter in network.get_submodule(root).named_parameters()
    }


def _groups(networks: list[list[UnitFacts]]) -> list[list[int]]:
    """Positions of the units in each box: equal in stride and part in every network, and of one stage."""
    groups: list[list[int]] = []
    previous: tuple[object, ...] = ()
    strided = {i for units in networks for i, unit in enumerate(units) if unit.stride > 1}
    for index, first in enumerate(networks[0]):
        stage = first.unit.rpartition(".")[0] or first.unit
        kind = (stage, index in strided, first.size, *(units[index].part for units in networks))
        if kind == previous and index not in strided:
            groups[-1].append(index)
        else:
            groups.append([index])
        previous = kind
    return groups


def _box(axes: Axes, x: float, y: float, width: float, units: Sequence[UnitFacts]) -> None:
    last = units[-1]
    couples = any(unit.couples for unit in units)
    axes.add_patch(
        FancyBboxPatch(
            (x, y - 0.36),
            width,
            0.72,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=_FACES[last.part],
            edgecolor=COLOURS[3] if couples else "#888888",
            linewidth=2.2 if couples else 0.8,
        )
    )
    stride = next((unit.stride for unit in units if unit.stride > 1), 1)
    above = f"{len(units)} units" if len(units) > 1 else f"stride {stride}" if stride > 1 else ""
    below = f"{last.channels}" if last.size is None else f"{last.size}² {TIMES} {last.channels}"
    weight = "bold" if stride > 1 else "normal"
    axes.text(x + width / 2, y + 0.13, above, ha="center", va="center", fontsize=8, fontweight=weight)
    axes.text(x + width / 2, y - (0.13 if above else 0.0), below, ha="center", va="center", fontsize=8)


def _label(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{names[0]}-{names[-1].rpartition('.')[2]}"


def _legend(figure: Figure) -> None:
    patches = [Patch(facecolor=_FACES[part], edgecolor="#888888", linewidth=0.8) for part in _MEANING]
    patches.append(Patch(facecolor="white", edgecolor=COLOURS[3], linewidth=2.2))
    figure.legend(
        patches,
        [*_MEANING.values(), "coupling layer: its output is distilled"],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
