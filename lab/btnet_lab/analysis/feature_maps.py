"""Fig. 10: feature maps of one small face at the four stages of each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.evaluation.plots import math_name, new_figure
from btnet.images.resize import resize
from btnet.serving.face_model import FaceModel
from btnet_lab.analysis.maps import correlation, feature_maps, show, stage_ends, summed
from btnet_lab.analysis.output import TableRow
from btnet_lab.style import TIMES


@dataclass(frozen=True, eq=False)
class StageMap:
    """One stage's output.

    Attributes:
        unit: last of the stage.
        channels: C.
        mean: over all values.
        std: over all values.
        image: sum over channels, [H, W].
        correlation: with the same model's feature map of the face at canonical size; None if it has no such network.
    """

    unit: str
    channels: int
    mean: float
    std: float
    image: NDArray[np.float32]
    correlation: float | None


@dataclass(frozen=True, eq=False)
class ModelMaps:
    """A model's feature maps of a face.

    Attributes:
        model: its name.
        network: name of the network that embeds this resolution.
        resolution: of the view in px.
        view: what enters the network, uint8 [H, W, 3].
        stages: in order.
    """

    model: str
    network: str
    resolution: int
    view: NDArray[np.uint8]
    stages: list[StageMap]


def see(
    model: FaceModel, face: NDArray[np.uint8], resolution: int, interpolation: str = "bilinear"
) -> ModelMaps:
    """Run a face through the model's network for a resolution and keep the ends of the stages.

    Args:
        model: from `load_model`.
        face: uint8 RGB [S, S, 3] at canonical size.
        resolution: to shrink it to, in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Raises:
        ValueError: if the model has no network for this resolution.
    """
    network, full = model.network_for(resolution), model.networks.get(model.canonical_size)
    assert isinstance(network, Backbone)
    units = stage_ends(network)
    found = feature_maps(network, face, resolution, units, interpolation)
    reference = {}
    if isinstance(full, Backbone):
        reference = feature_maps(full, face, model.canonical_size, units, interpolation)
    stages = [
        StageMap(
            unit=unit,
            channels=len(maps),
            mean=float(maps.mean()),
            std=float(maps.std(correction=0)),
            image=summed(maps),
            correlation=correlation(maps, reference[unit]) if reference else None,
        )
        for unit, maps in found.items()
    ]
    view = resize(resize(face, resolution, interpolation), network.input_size, interpolation)
    return ModelMaps(model.name, model.network_name(resolution), resolution, view, stages)


def rows(models: Sequence[ModelMaps]) -> Iterator[TableRow]:
    """The table, a row per model and stage."""
    for m in models:
        for number, stage in enumerate(m.stages, start=1):
            yield {
                "model": m.model,
                "network": m.network,
                "view_px": m.resolution,
                "stage": number,
                "unit": stage.unit,
                "map_px": stage.image.shape[-1],
                "channels": stage.channels,
                "mean": stage.mean,
                "std": stage.std,
                "correlation_with_112": stage.correlation,
            }


def draw(models: Sequence[ModelMaps]) -> Figure:
    """Models in rows; what enters the network, then the stages' sums over channels, each on its own scale."""
    columns = 1 + max(len(m.stages) for m in models)
    figure = new_figure(1.62 * columns + 1.3, 1.86 * len(models) + 0.5)
    all_axes = figure.subplots(len(models), columns, squeeze=False)
    for line, m in zip(all_axes, models, strict=True):
        show(line[0], m.view)
        network = m.network.replace(", ", ",\n")
        line[0].set_ylabel(f"{math_name(m.model)} at {m.resolution} px", fontsize=10)
        line[0].set_xlabel(network, fontsize=8, color="#555555")
        for axes, stage in zip(line[1:], m.stages, strict=False):
            show(axes, stage.image)
            size = stage.image.shape[-1]
            like = "" if stage.correlation is None else f", corr. {stage.correlation:.2f}"
            axes.set_xlabel(f"{size} {TIMES} {size}{like}", fontsize=8, color="#555555")
        for axes in line[1 + len(m.stages) :]:
            axes.set_axis_off()
    all_axes[0, 0].set_title("input", fontsize=10)
    for number, axes in enumerate(all_axes[0, 1:], start=1):
        axes.set_title(f"stage {number}", fontsize=10)
    return figure
