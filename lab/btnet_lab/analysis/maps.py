"""Feature maps as pictures, and how similar two of them are."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise
from btnet.images.resize import resize


def feature_maps(
    network: Backbone, face: NDArray[np.uint8], resolution: int, units: list[str], interpolation: str
) -> dict[str, Tensor]:
    """Feature maps of a face that the network sees at a resolution, as `embed_images` would show it.

    Args:
        network: in eval mode.
        face: uint8 RGB [H, W, 3].
        resolution: of the view in px; a network of another input size gets the view resized to it.
        units: whose outputs are wanted.
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        Unit name -> float32 [C, H, W] on the CPU.
    """
    parameter = next(network.parameters())
    view = resize(resize(face, resolution, interpolation), network.input_size, interpolation)
    images = torch.from_numpy(view).permute(2, 0, 1)[None].to(parameter.device)
    with torch.inference_mode():
        found = network.feature_maps(normalise(images, parameter.dtype), units)
    return {name: maps[0].float().cpu() for name, maps in found.items()}


def stage_ends(network: Backbone) -> list[str]:
    """Last unit of each stage; a stage begins with a striding unit, the embedding's own unit is none of it."""
    units = [unit for unit in network.units() if not unit.full_precision]
    striding = [i for i, unit in enumerate(units) if unit.stride > 1]
    return [units[end - 1].name for end in (*striding[1:], len(units))]


def summed(maps: Tensor) -> NDArray[np.float32]:
    """Sum over channels, as the authors' visualisation has it: [C, H, W] -> [H, W]."""
    return np.asarray(maps.sum(dim=0).numpy(), dtype=np.float32)


def correlation(first: Tensor, second: Tensor) -> float | None:
    """Pearson's correlation of two feature maps' values, after averaging the larger down to the smaller.

    Args:
        first: [C, H, W].
        second: [C, H', W']; another number of channels has no answer.

    Returns:
        In [-1, 1]; None for different channels, or where a feature map is constant.
    """
    if len(first) != len(second):
        return None
    size = min(first.shape[-1], second.shape[-1])
    pool = nn.AdaptiveAvgPool2d(size)
    a, b = (pool(maps.double()[None]).flatten() for maps in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = float(a.norm() * b.norm())
    return float(a @ b) / norm if norm > 0 else None


def show(axes: Axes, image: NDArray[np.generic]) -> None:
    """Draw a face or a summed feature map without axes, every pixel a square."""
    axes.imshow(image, cmap="viridis", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
