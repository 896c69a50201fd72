"""HR and LR views of a face: one place for training, evaluation and serving.

Images are uint8 RGB NCHW until the network's door, which is `normalise`.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import torch
from torch import Tensor

from btnet.data.draws import draw
from btnet.images.interpolation import check_interpolation
from btnet.images.resize import INTERPOLATIONS, resize, resize_float

__all__ = [
    "INTERPOLATIONS",
    "MultiResolution",
    "down_up",
    "flip",
    "flip_mask",
    "normalise",
    "resize",
    "resize_float",
    "resize_normalised",
]

# Probabilities of S, S/2, S/4, S/8, S/16; v3 draws any whole size instead.
_PYRAMID_PROBABILITIES: Final = {
    "v1": (0.2, 0.2, 0.2, 0.2, 0.2),
    "v2": (0.3, 0.25, 0.2, 0.15, 0.1),
}


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn images into what networks eat: x / 127.5 - 1.

    Args:
        images: uint8 RGB [B, 3, H, W].
        dtype: of the result; computed in float32 whatever it is.

    Returns:
        [B, 3, H, W] in [-1, 1].

    Raises:
        ValueError: if the images are not uint8 (floats may be normalised already).
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}, expected torch.uint8 grey levels; normalise only once")
    return (images.to(torch.float32) / 127.5 - 1.0).to(dtype)


def resize_normalised(x: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Resize what `normalise` made, as images are resized: from whole grey levels to whole grey levels.

    Built of operations that export, see `resize_float`.

    Args:
        x: RGB in [-1, 1], [B, 3, H, W].
        size: in px.
        interpolation: one of `INTERPOLATIONS`.

    Returns:
        [B, 3, size, size] in [-1, 1], of the same dtype; equal to `normalise(resize(images, size))`.
    """
    # back to the grey levels `x` was made of, exactly: floats are within 1e-5 of them
    levels = ((x + 1.0) * 127.5 + 0.5).floor().clamp(0, 255)
    return (resize_float(levels, size, interpolation) / 127.5 - 1.0).to(x.dtype)


def down_up(images: Tensor, size: int | tuple[int, int], interpolation: str = "bilinear") -> Tensor:
    """Shrink to `size` and enlarge back: what a canonical-size model sees of a low-resolution face.

    Args:
        images: uint8 RGB [B, 3, H, W].
        size: in px: one number (square) or (height, width).
        interpolation: one of `INTERPOLATIONS`, for both steps.

    Returns:
        uint8 [B, 3, H, W].

    Raises:
        ValueError: as `resize`.
    """
    height, width = images.shape[-2:]
    return resize(resize(images, size, interpolation), (height, width), interpolation)


def flip_mask(keys: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Decide which images of an epoch are mirrored, each with probability 1/2.

    Args:
        keys: int64 [B], one per image of the data set (not of the batch); any device.
        seed: of the run.
        epoch: current epoch.

    Returns:
        bool [B]; the answer for a key does not depend on the others.
    """
    return draw(keys, seed=seed, epoch=epoch, purpose="flip") < (1 << 31)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror the chosen images left to right.

    Args:
        images: [B, 3, H, W], any dtype.
        mask: bool [B], as `flip_mask` gives; moved to the images' device.

    Returns:
        New images of the same shape.

    Raises:
        ValueError: if there is not one bool per image.
    """
    if mask.dtype != torch.bool or mask.shape != images.shape[:1]:
        raise ValueError(
            f"flip mask is {mask.dtype} of shape {list(mask.shape)}, expected torch.bool "
            f"[{images.shape[0]}]: one per image"
        )
    return torch.where(mask.to(images.device)[:, None, None, None], images.flip(-1), images)


class MultiResolution:
    """Multi-resolution augmentation that trains phi_mr: each image goes down to a random size and up again.

    v1: uniform over the pyramid S, S/2, S/4, S/8, S/16 (112, 56, 28, 14, 7). v2: the same sizes with
    probabilities 0.3, 0.25, 0.2, 0.15, 0.1. v3: any whole size from S/28 to S (4 to 112). Sizes are drawn by
    image (see `btnet.data.draws`): batch composition, worker count and world size do not change them.

    Args:
        version: "v1", "v2" or "v3".
        canonical_size: S in px.
        interpolation: one of `INTERPOLATIONS`.
        seed: of the run.

    Raises:
        ValueError: if the version or interpolation is unknown, or S does not fit the version.
    """

    def __init__(
        self, version: str, *, canonical_size: int = 112, interpolation: str = "bilinear", seed: int = 0
    ) -> None:
        self.version = version
        self.canonical_size = canonical_size
        self.interpolation = check_interpolation(interpolation)
        self.seed = seed
        if version == "v3":
            smallest = max(1, canonical_size // 28)
            self._sizes = tuple(range(smallest, canonical_size + 1))
            probabilities: Sequence[float] = (1 / len(self._sizes),) * len(self._sizes)
        elif version in _PYRAMID_PROBABILITIES:
            if canonical_size % 16:
                raise ValueError(
                    f"canonical size {canonical_size} has no pyramid down to a sixteenth; "
                    f"take a multiple of 16, or version 'v3' instead of {version!r}"
                )
            self._sizes = tuple(canonical_size // divisor for divisor in (1, 2, 4, 8, 16))
            probabilities = _PYRAMID_PROBABILITIES[version]
        else:
            raise ValueError(f"multi-resolution version {version!r} is unknown; choose v1, v2 or v3")
        # Upper ends of each size's interval of draws, without the last: it takes the rest.
        self._bounds = [round(p * (1 << 32)) for p in accumulate(probabilities)][:-1]

    def sizes(self, keys: Tensor, epoch: int) -> Tensor:
        """Draw the size of each image.

        Args:
            keys: int64 [B], one per image of the data set (not of the batch); any device.
            epoch: current epoch.

        Returns:
            int64 [B] in px, on the keys' device.
        """
        drawn = draw(keys, seed=self.seed, epoch=epoch, purpose="size")
        bounds = torch.tensor(self._bounds, device=keys.device)
        sizes = torch.tensor(self._sizes, device=keys.device)
        return sizes[torch.bucketize(drawn, bounds, right=True)]

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Send each image down to its drawn size and up again.

        Args:
            images: uint8 RGB [B, 3, S, S] on any device.
            keys: int64 [B]. Best on the CPU, where sorting by size does not wait for the device.
            epoch: current epoch.

        Returns:
            uint8 [B, 3, S, S], new memory.

        Raises:
            ValueError: if the images are not S x S, or there is not one key per image.
        """
        side = self.canonical_size
        if tuple(images.shape[-2:]) != (side, side):
            raise ValueError(
                f"images are {images.shape[-2]} x {images.shape[-1]} px, expected {side} x {side}, the "
                "canonical size of this augmentation; resize them, or pass canonical_size"
            )
        if keys.shape != images.shape[:1]:
            raise ValueError(f"got {list(keys.shape)} keys for {images.shape[0]} images; pass one per image")
        sizes = self.sizes(keys, epoch)
        views = images.clone()
        for size in sorted(set(sizes.tolist())):
            if size != side:
                members = (sizes == size).nonzero()[:, 0].to(images.device)
                views[members] = down_up(images[members], size, self.interpolation)
        return views
