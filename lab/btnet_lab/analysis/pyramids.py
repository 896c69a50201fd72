"""Fig. 3: the image pyramid beside the trunk's feature pyramid, level by level of equal resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.evaluation.plots import new_figure
from btnet.images.resize import resize
from btnet.method.btnet import BTNet
from btnet.method.coupling import pyramid
from btnet_lab.analysis.maps import correlation, feature_maps, show, summed
from btnet_lab.analysis.output import TableRow
from btnet_lab.style import TIMES


@dataclass(frozen=True, eq=False)
class Level:
    """One level of both pyramids.

    Attributes:
        resolution: r in px, of the face and of the feature maps.
        coupling_layer: unit whose output has r px.
        channels: of its output.
        view: the face at r px, uint8 [r, r, 3].
        trunk: the trunk's feature map of the full face, summed over channels, [r, r].
        branch: the branch's feature map of the view, summed likewise; None where the model has no branch.
        correlation: Pearson's, over all elements of the two; None without a branch.
        trunk_mean: over all elements of the trunk's; None where it was not kept.
        trunk_std: likewise.
        branch_mse: eq. 2 for this face, the mean squared difference over all elements.
    """

    resolution: int
    coupling_layer: str
    channels: int
    view: NDArray[np.uint8]
    trunk: NDArray[np.float32]
    branch: NDArray[np.float32] | None
    correlation: float | None
    trunk_mean: float | None = None
    trunk_std: float | None = None
    branch_mse: float | None = None


def pyramids(
    model: BTNet | Backbone, face: NDArray[np.uint8], interpolation: str = "bilinear"
) -> list[Level]:
    """Both pyramids of a face, from the largest level down.

    Args:
        model: a trunk, or trunk and branches.
        face: uint8 RGB [S, S, 3].
        interpolation: one of `btnet.data.INTERPOLATIONS`.
    """
    trunk = model.trunk if isinstance(model, BTNet) else model
    size = trunk.canonical_size
    if trunk.input_size != size:
        raise ValueError(
            f"a network for {trunk.input_size} px has no pyramid of {size} px faces; give a trunk, or a run with "
            "trunk and branches"
        )
    resolutions = pyramid([unit.stride for unit in trunk.units()], size)
    layers = {r: trunk.coupling_layer(r) for r in resolutions}
    maps = feature_maps(trunk, face, size, list(layers.values()), interpolation)
    levels = []
    for r, layer in layers.items():
        branch = None
        if isinstance(model, BTNet) and r in model.resolutions:
            branch = feature_maps(model.network(r), face, r, [layer], interpolation)[layer]
        levels.append(_level(r, layer, resize(face, r, interpolation), maps[layer], branch))
    return levels


def rows(levels: Sequence[Level]) -> Iterator[TableRow]:
    """The table, a row per level."""
    for level in levels:
        yield {
            "resolution_px": level.resolution,
            "coupling_layer": level.coupling_layer,
            "channels": level.channels,
            "trunk_mean": level.trunk_mean,
            "trunk_std": level.trunk_std,
            "branch_mse": level.branch_mse,
            "branch_correlation": level.correlation,
        }


def draw(levels: Sequence[Level]) -> Figure:
    """Faces above, the trunk's feature maps below them, then the branches' where the model has any."""
    with_branches = any(level.branch is not None for level in levels)
    num_rows = 3 if with_branches else 2
    figure = new_figure(1.95 * len(levels) + 0.7, 2.0 * num_rows + 0.6)
    all_axes = figure.subplots(num_rows, len(levels), squeeze=False)
    for column, level in enumerate(levels):
        show(all_axes[0, column], level.view)
        all_axes[0, column].set_title(f"{level.resolution} {TIMES} {level.resolution} px", fontsize=11)
        show(all_axes[1, column], level.trunk)
        all_axes[1, column].set_xlabel(f"{level.coupling_layer}, {level.channels} channels", fontsize=8)
        if not with_branches:
            continue
        below = all_axes[2, column]
        if level.branch is None:
            below.set_axis_off()
            below.text(0.5, 0.5, "no branch", transform=below.transAxes, ha="center", color="#555555")
        else:
            show(below, level.branch)
            like = level.correlation
            below.set_xlabel("" if like is None else f"correlation {like:.2f}", fontsize=8)
    labels = ("face", "trunk's features\nof the full face", "branch's features\nof the shrunk face")
    for axes, label in zip(all_axes[:, 0], labels, strict=False):
        if axes.axison:
            axes.set_ylabel(label, fontsize=10)
        else:
            axes.text(-0.12, 0.5, label, transform=axes.transAxes, rotation=90, va="center", ha="center")
    return figure


def _level(r: int, layer: str, view: NDArray[np.uint8], trunk: Tensor, branch: Tensor | None) -> Level:
    return Level(
        resolution=r,
        coupling_layer=layer,
        channels=len(trunk),
        view=view,
        trunk=summed(trunk),
        branch=None if branch is None else summed(branch),
        correlation=None if branch is None else correlation(branch, trunk),
        trunk_mean=float(trunk.mean()),
        trunk_std=float(trunk.std(correction=0)),
        branch_mse=None if branch is None else float((branch - trunk).square().mean()),
    )
