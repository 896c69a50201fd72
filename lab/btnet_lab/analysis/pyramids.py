"""Fig. 3: the image pyramid beside the trunk's feature pyramid, level by level of equal resolution."""

from __future__ import annotations

from collections.abc import Sequence
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
from btnet_lab.style import TIMES

__all__ = ["HEADER", "Level", "LevelPicture", "draw", "pyramids", "rows"]

HEADER = (
    "resolution_px",
    "coupling_layer",
    "channels",
    "trunk_mean",
    "trunk_std",
    "branch_mse",
    "branch_correlation",
)


@dataclass(frozen=True, eq=False)
class Level:
    """One level of both pyramids.

    Attributes:
        resolution: r in px, of the face and of the map.
        coupling_layer: unit whose map has r px.
        view: the face at r px, uint8 [r, r, 3].
        trunk: the trunk's map of the full face, [C, r, r].
        branch: the branch's map of the view, [C, r, r]; None where the model has no branch.
    """

    resolution: int
    coupling_layer: str
    view: NDArray[np.uint8]
    trunk: Tensor
    branch: Tensor | None

    @property
    def branch_mse(self) -> float | None:
        """Eq. 2 for this face: mean squared difference of the two maps over all elements."""
        return None if self.branch is None else float((self.branch - self.trunk).square().mean())

    @property
    def branch_correlation(self) -> float | None:
        """Pearson's, over all elements of the two maps."""
        return None if self.branch is None else correlation(self.branch, self.trunk)

    def picture(self) -> LevelPicture:
        """What is drawn of it."""
        branch = None if self.branch is None else summed(self.branch)
        return LevelPicture(
            self.resolution, self.coupling_layer, len(self.trunk), self.view, summed(self.trunk), branch,
            self.branch_correlation,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class LevelPicture:
    """What is drawn of a level: its maps summed over channels.

    Attributes:
        resolution: r in px.
        coupling_layer: unit whose map has r px.
        channels: of the maps.
        view: the face at r px, uint8 [r, r, 3].
        trunk: [r, r].
        branch: [r, r]; None where the model has no branch.
        correlation: of the two maps, over all their elements.
    """

    resolution: int
    coupling_layer: str
    channels: int
    view: NDArray[np.uint8]
    trunk: NDArray[np.float32]
    branch: NDArray[np.float32] | None
    correlation: float | None


def pyramids(
    model: BTNet | Backbone, face: NDArray[np.uint8], interpolation: str = "bilinear"
) -> list[Level]:
    """Both pyramids of a face, from the largest level down.

    Args:
        model: a trunk, or trunk and branches.
        face: uint8 RGB [S, S, 3].
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Raises:
        ValueError: if the model is a network of one small resolution: it has no pyramid to compare.
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
        levels.append(Level(r, layer, resize(face, r, interpolation), maps[layer], branch))
    return levels


def rows(levels: Sequence[Level]) -> list[tuple[str | int | float | None, ...]]:
    """Lines of the table under `HEADER`."""
    return [
        (
            level.resolution,
            level.coupling_layer,
            len(level.trunk),
            float(level.trunk.mean()),
            float(level.trunk.std(correction=0)),
            level.branch_mse,
            level.branch_correlation,
        )
        for level in levels
    ]


def draw(levels: Sequence[LevelPicture]) -> Figure:
    """Faces above, the trunk's maps below, and below them the branches' where the model has some."""
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
    labels = ("face, shrunk", "trunk's map\nof the full face", "branch's map\nof the shrunk face")
    for axes, label in zip(all_axes[:, 0], labels, strict=False):
        if axes.axison:
            axes.set_ylabel(label, fontsize=10)
        else:
            axes.text(-0.12, 0.5, label, transform=axes.transAxes, rotation=90, va="center", ha="center")
    return figure
