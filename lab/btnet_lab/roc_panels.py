"""ROC curves of several tests side by side, and beside the faces that were tested (figs. 11 and 12, the demo's)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from btnet.evaluation.plots import Curve, draw_roc, new_figure, save_figure
from btnet.images.resize import resize
from btnet_lab.style import legend_below

Images = npt.NDArray[np.uint8]

_INCHES_WIDE: Final = 10.0
_GAP_PX: Final = 6
_MAX_COLUMNS: Final = 3


def draw_roc_panels(panels: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """ROC curves of several tests side by side (figs. 11 and 12), logarithmic FAR axis.

    Args:
        panels: name of each test ("112&14") -> name of each model ("phi_bt") -> (far, tar). A model keeps its
            colour in all panels.
    """
    columns = min(_MAX_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(3.9 * columns, 3.4 * rows + 0.4)
    models = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for index, (test, curves) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_roc(axes, curves, test, models)
        if index % columns == 0:
            axes.set_ylabel("true accept rate")
    legend_below(figure, figure.axes)
    return figure


def plot_faces_and_roc(
    images: Images,
    resolutions: Sequence[int],
    panels: Mapping[str, Mapping[str, Curve]],
    path: str | Path,
    *,
    faces_title: str = "The same faces, pixel by pixel",
    dpi: int = 150,
) -> None:
    """Draw the demo's picture: faces at each resolution above, ROC curves of each test below.

    Args:
        images: uint8 RGB [N, S, S, 3].
        resolutions: of the rows of faces, in px.
        panels: name of each test ("112&14") -> name of each model ("phi_bt") -> (far, tar). A model keeps its
            colour in all panels.
        path: PNG or SVG to write; it appears complete or not at all.
        faces_title: above the faces.
        dpi: dots per inch.
    """
    mosaic = _mosaic(images, resolutions)
    # The labels of the rows take 0.6 inch of the width, the title 0.5 of the height.
    heights = ((_INCHES_WIDE - 0.6) * mosaic.shape[0] / mosaic.shape[1] + 0.5, 4.1)
    figure = new_figure(_INCHES_WIDE, sum(heights))
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    _draw_faces(above.add_subplot(), mosaic, resolutions, faces_title)

    models = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    all_axes = below.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (test, curves) in zip(all_axes, panels.items(), strict=True):
        draw_roc(axes, curves, test, models)
    all_axes[0].set_ylabel("true accept rate")
    below.suptitle("Verification of people never trained on", fontsize=12, fontweight="bold")
    legend_below(below, list(all_axes))
    save_figure(figure, path, dpi)


def _draw_faces(axes: Axes, mosaic: Images, resolutions: Sequence[int], title: str) -> None:
    axes.imshow(mosaic, interpolation="nearest")
    step = mosaic.shape[0] / len(resolutions)
    axes.set_yticks([step * (i + 0.5) for i in range(len(resolutions))], [f"{r} px" for r in resolutions])
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=11)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(title, fontsize=12, fontweight="bold")


def _mosaic(images: Images, resolutions: Sequence[int]) -> Images:
    height, width = images.shape[1:3]
    step_y, step_x = height + _GAP_PX, width + _GAP_PX
    mosaic: Images = np.full((step_y * len(resolutions), step_x * len(images), 3), 255, dtype=np.uint8)
    for row, resolution in enumerate(resolutions):
        for column, image in enumerate(images):
            shrunk = resize(image, resolution)
            # Nearest: each pixel becomes a block, also where the sizes do not divide.
            rows = np.arange(height) * resolution // height
            columns = np.arange(width) * resolution // width
            y, x = row * step_y + _GAP_PX // 2, column * step_x + _GAP_PX // 2
            mosaic[y : y + height, x : x + width] = shrunk[rows][:, columns]
    return mosaic
