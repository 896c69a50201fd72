"""Fig. 1: what a face loses by being shrunk and enlarged again, against the size in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from btnet.data.views import down_up
from btnet.evaluation.style import COLOURS, LINES, new_figure, tidy

__all__ = ["HEADER", "UpsamplingError", "draw", "draw_on", "rows", "upsampling_error"]

HEADER = ("interpolation", "resolution_px", "rmse_grey_levels", "std_over_images", "relative_to_112")
_MARKED_PX = 32
_BATCH = 25


@dataclass(frozen=True)
class UpsamplingError:
    """Error at one resolution.

    Attributes:
        resolution: r in px.
        rmse: mean over images of the root mean square error, in grey levels.
        std: of it over images.
        relative: mean over images of ||U(D(x)) - x|| / ||x||.
    """

    resolution: int
    rmse: float
    std: float
    relative: float


def upsampling_error(
    images: NDArray[np.uint8], resolutions: Sequence[int], interpolation: str = "bilinear"
) -> list[UpsamplingError]:
    """Error of down- and up-sampling, averaged over images.

    With x an image of S x S px and 3 channels, D_r shrinking to r x r px and U_S enlarging to S x S px, both by
    the same interpolation and rounded to grey levels:

        e_r(x) = ||U_S(D_r(x)) - x||_2 / sqrt(3 S S)        in grey levels of 255
        E(r) = mean of e_r(x) over the images

    This is the reading of eq. 11 and 12 that needs no model; how the paper normalises the norm is not known to
    us, so the error relative to ||x||_2 is given beside it. Both are 0 at r = S and for a uniform image.

    Args:
        images: uint8 RGB [N, S, S, 3].
        resolutions: r in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        One error per resolution.

    Raises:
        ValueError: if there is no image, or it or the interpolation is of another kind.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ValueError(
            f"images are {images.dtype} of shape {list(images.shape)}, expected uint8 RGB [N, S, S, 3], N >= 1"
        )
    norms = np.sqrt(np.mean(np.square(images, dtype=np.float64), axis=(1, 2, 3)))
    errors = []
    for resolution in resolutions:
        rmse = np.concatenate([*_rmse(images, resolution, interpolation)])
        # A black image has no norm to relate to; nothing is lost on it either.
        relative = np.divide(rmse, norms, out=np.zeros_like(rmse), where=norms > 0)
        errors.append(
            UpsamplingError(resolution, float(rmse.mean()), float(rmse.std()), float(relative.mean()))
        )
    return errors


def rows(errors: dict[str, list[UpsamplingError]]) -> list[tuple[str, int, float, float, float]]:
    """Lines of the table under `HEADER`, {interpolation: errors}."""
    return [(name, e.resolution, e.rmse, e.std, e.relative) for name, found in errors.items() for e in found]


def draw(errors: dict[str, list[UpsamplingError]], num_images: int, branches: Sequence[int] = ()) -> Figure:
    """A curve per interpolation, the band of one standard deviation over images, 32 px marked.

    Args:
        errors: by interpolation.
        num_images: that they are means of.
        branches: resolutions to mark on the first curve.
    """
    figure = new_figure(5.6, 3.8)
    draw_on(figure.add_subplot(), errors, num_images, branches)
    return figure


def draw_on(
    axes: Axes, errors: dict[str, list[UpsamplingError]], num_images: int, branches: Sequence[int] = ()
) -> None:
    """As `draw`, in a picture of several."""
    for index, (name, found) in enumerate(errors.items()):
        x = [e.resolution for e in found]
        mean, std = (np.array([getattr(e, key) for e in found]) for key in ("rmse", "std"))
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(x, mean, color=colour, linestyle=LINES[index % len(LINES)], linewidth=1.8, label=name)
        if index == 0:
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
            marked = [e for e in found if e.resolution in branches]
            axes.plot(
                [e.resolution for e in marked], [e.rmse for e in marked], "o", color=colour, markersize=5
            )
            for e in marked:
                axes.annotate(
                    f"{e.resolution}",
                    (e.resolution, e.rmse),
                    (-5, -13),
                    textcoords="offset points",
                    fontsize=9,
                    ha="right",
                )
    axes.axvline(_MARKED_PX, color="#555555", linestyle=":", linewidth=1.2)
    axes.annotate(
        f"{_MARKED_PX} px",
        (_MARKED_PX, 0.97),
        (5, 0),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        va="top",
        color="#555555",
    )
    largest = max(e.resolution for found in errors.values() for e in found)
    axes.set_xlim(0, 1.02 * largest)
    axes.set_xticks(range(0, largest + 1, 16))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("resolution in between, px")
    axes.set_ylabel("error of down- and up-sampling,\nRMS grey levels")
    tidy(axes)
    axes.legend(frameon=False, title=f"mean of {num_images} faces")


def _rmse(images: NDArray[np.uint8], resolution: int, interpolation: str) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(images), _BATCH):
        batch = torch.from_numpy(images[start : start + _BATCH]).permute(0, 3, 1, 2)
        difference = down_up(batch, resolution, interpolation).to(torch.float64) - batch
        yield difference.square().mean(dim=(1, 2, 3)).sqrt().numpy()
