"""Fig. 1: an upper bound of the error of enlarging a face, by its size; and what shrinking actually loses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from btnet.data.views import down_up
from btnet.evaluation.plots import COLOURS, LINES, tidy
from btnet.images.resize import resize
from btnet_lab.analysis.output import TableRow

_LEAST_IMAGES = 100  # "average value for over 100 images"
_LEAST_PX = 3
_MARKED_PX = 32
_BATCH = 25


@dataclass(frozen=True)
class SizeError:
    """Error at one resolution.

    Attributes:
        resolution: r in px.
        mean: over images.
        std: of it over images.
    """

    resolution: int
    mean: float
    std: float


Errors = Mapping[str, Sequence[SizeError]]
"""By interpolation."""


def error_bound(
    images: NDArray[np.uint8], resolutions: Iterable[int], interpolation: str = "bilinear"
) -> list[SizeError]:
    """Upper bound of the error of enlarging an r px face bilinearly (eq. 11), relative to that at full size (fig. 1).

        E_r(x) = mean of |d4f / dx2 dy2| / 64 over the inner pixels and the channels of f = D_r(x)

    with the derivative by the operator of eq. 12: second differences along both axes. D_r shrinks to r x r px, in whole
    grey levels. The paper bounds the error at a point. The mean over pixels, and "relative to resolution 112" as the
    ratio of the means over images, are our reading.

    Args:
        images: uint8 RGB [N, S, S, 3], N >= 100 as in the paper.
        resolutions: r in px, 3 or more.
        interpolation: by which faces are shrunk, one of `btnet.data.INTERPOLATIONS`.

    Returns:
        One error per resolution; 1 at S px.

    Raises:
        ValueError: if there are fewer images, they or the interpolation are of another kind, or hold no detail.
    """
    sizes = list(resolutions)
    if len(images) < _LEAST_IMAGES:
        raise ValueError(
            f"{len(images)} images: fig. 1 is a mean over {_LEAST_IMAGES} or more; give more faces"
        )
    if min(sizes, default=_LEAST_PX) < _LEAST_PX:
        raise ValueError(
            f"{min(sizes)} px: eq. 12 looks at {_LEAST_PX} x {_LEAST_PX} px; leave smaller sizes out"
        )

    def bound(batch: Tensor, size: int) -> Tensor:
        face = resize(batch, size, interpolation).double()
        return face.diff(n=2, dim=-1).diff(n=2, dim=-2).abs().mean(dim=(1, 2, 3)) / 64

    full = _of_each(images, images.shape[1], bound).mean()
    if full == 0:
        raise ValueError("the images hold no detail: their error bound at full size is 0; give photographs")
    return [_over_images(size, _of_each(images, size, bound) / full) for size in sizes]


def down_up_error(
    images: NDArray[np.uint8], resolutions: Iterable[int], interpolation: str = "bilinear"
) -> list[SizeError]:
    """What a face loses by shrinking to r px and enlarging again; not in the paper.

        e_r(x) = ||U_S(D_r(x)) - x||_2 / sqrt(3 S S)        in grey levels of 255

    with x an image of S x S px and 3 channels, D_r shrinking to r x r px and U_S enlarging to S x S px, both by one
    interpolation and rounded to grey levels. 0 at r = S and for a uniform image.

    Args:
        images: uint8 RGB [N, S, S, 3], N >= 1.
        resolutions: r in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        One error per resolution.
    """

    def rmse(batch: Tensor, size: int) -> Tensor:
        difference = down_up(batch, size, interpolation).double() - batch
        return difference.square().mean(dim=(1, 2, 3)).sqrt()

    return [_over_images(size, _of_each(images, size, rmse)) for size in resolutions]


@dataclass(frozen=True)
class Measure:
    """A curve over resolutions.

    Attributes:
        of: images, resolutions and interpolation to errors.
        column: name of the mean in the table.
        label: of the axis.
    """

    of: Callable[[NDArray[np.uint8], Iterable[int], str], list[SizeError]]
    column: str
    label: str


ERROR_BOUND: Final = Measure(
    error_bound, "error_bound_relative_to_full_size", "upper bound of the interpolation error,\nfull size: 1"
)
DOWN_UP: Final = Measure(
    down_up_error, "rmse_grey_levels", "error of down- and up-sampling,\nRMS grey levels"
)


def rows(measure: Measure, errors: Errors) -> Iterator[TableRow]:
    """The table, a row per interpolation and resolution."""
    for name, found in errors.items():
        for e in found:
            yield {
                "interpolation": name,
                "resolution_px": e.resolution,
                measure.column: e.mean,
                "std_over_images": e.std,
            }


def draw(axes: Axes, measure: Measure, errors: Errors, num_images: int, branches: Sequence[int] = ()) -> None:
    """A curve per interpolation, with 32 px marked and, on the first, the resolutions of `branches`.

    The band around the first is one standard deviation over the images.
    """
    for index, (name, found) in enumerate(errors.items()):
        x = [e.resolution for e in found]
        mean, std = (np.array([getattr(e, key) for e in found]) for key in ("mean", "std"))
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(x, mean, color=colour, linestyle=LINES[index % len(LINES)], linewidth=1.8, label=name)
        if index == 0:
            axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
            marked = [e for e in found if e.resolution in branches]
            axes.plot(
                [e.resolution for e in marked], [e.mean for e in marked], "o", color=colour, markersize=5
            )
            for e in marked:
                axes.annotate(
                    f"{e.resolution}",
                    (e.resolution, e.mean),
                    (5, 3),
                    textcoords="offset points",
                    fontsize=9,
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
    axes.set_xlabel("resolution, px")
    axes.set_ylabel(measure.label)
    tidy(axes)
    axes.legend(frameon=False, title=f"mean of {num_images} faces")


def _over_images(resolution: int, errors: NDArray[np.float64]) -> SizeError:
    return SizeError(resolution, float(errors.mean()), float(errors.std()))


def _of_each(
    images: NDArray[np.uint8], resolution: int, measure: Callable[[Tensor, int], Tensor]
) -> NDArray[np.float64]:
    """The measure of each image, [N], some images at a time."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or len(images) == 0:
        raise ValueError(
            f"images are {images.dtype} of shape {list(images.shape)}, expected uint8 RGB [N, S, S, 3], N >= 1"
        )
    parts = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    found = [measure(torch.from_numpy(part).permute(0, 3, 1, 2), resolution) for part in parts]
    return np.asarray(torch.cat(found).numpy(), dtype=np.float64)
