"""HR and LR views of a face: one place for training, evaluation and serving.

Images are uint8 RGB NCHW until `normalise`. A view that draws takes images [B, 3, S, S] on any device, `keys`, int64
[B], one per image of the data set (not of the batch), and the current epoch, see `btnet.draws`. Keys are best on the
CPU, where sorting by size does not wait for the device.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

import torch
from torch import Tensor

from btnet.draws import by_value, draw, uniform
from btnet.images.interpolation import check_interpolation
from btnet.images.resize import INTERPOLATIONS, resize, resize_float

__all__ = [
    "INTERPOLATIONS",
    "BranchView",
    "MultiResolution",
    "View",
    "down_up",
    "flip",
    "flip_mask",
    "normalise",
    "resize",
    "resize_float",
    "resize_normalised",
]

View = Callable[[Tensor, Tensor, int], Tensor]
"""Images uint8 [B, 3, S, S], keys [B], epoch -> uint8 [B, 3, r, r]."""

# Probabilities of S, S/2, S/4, S/8, S/16; v3 draws any whole size instead.
_PYRAMID_PROBABILITIES: Final = {
    "v1": (0.2, 0.2, 0.2, 0.2, 0.2),
    "v2": (0.3, 0.25, 0.2, 0.15, 0.1),
}


def normalise(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale uint8 images to [-1, 1], x / 127.5 - 1, computed in float32 whatever the `dtype` of the result.

    Raises:
        ValueError: if the images are not uint8 (floats may be normalised already).
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images are {images.dtype}, expected torch.uint8 grey levels; normalise only once")
    return (images.to(torch.float32) / 127.5 - 1.0).to(dtype)


def resize_normalised(x: Tensor, size: int, interpolation: str = "bilinear") -> Tensor:
    """Resize normalised images [B, 3, H, W] to [B, 3, size, size]: equal to `normalise(resize(images, size))`.

    Built of operations that export, see `resize_float`; the dtype stays.
    """
    # back to the grey levels `x` was made of, exactly: floats are within 1e-5 of them
    levels = ((x + 1.0) * 127.5 + 0.5).floor().clamp(0, 255)
    return (resize_float(levels, size, interpolation) / 127.5 - 1.0).to(x.dtype)


def down_up(images: Tensor, size: int | tuple[int, int], interpolation: str = "bilinear") -> Tensor:
    """Shrink uint8 images to `size` and enlarge them back: what a canonical-size model sees of a low-resolution face.

    Size is in px, one number (square) or (height, width).
    """
    height, width = images.shape[-2:]
    return resize(resize(images, size, interpolation), (height, width), interpolation)


def flip_mask(keys: Tensor, *, seed: int, epoch: int) -> Tensor:
    """Decide which images of an epoch are mirrored, each with probability 1/2: bool [B]."""
    return draw(keys, seed=seed, epoch=epoch, purpose="flip") < (1 << 31)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror the images chosen by `mask`, bool [B], left to right, in new memory.

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
    probabilities 0.3, 0.25, 0.2, 0.15, 0.1. v3: any whole size from S/28 to S (4 to 112).

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
        """Draw the size of each image in px, int64 [B], on the keys' device."""
        drawn = draw(keys, seed=self.seed, epoch=epoch, purpose="size")
        bounds = torch.tensor(self._bounds, device=keys.device)
        sizes = torch.tensor(self._sizes, device=keys.device)
        return sizes[torch.bucketize(drawn, bounds, right=True)]

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Send each image down to its drawn size and up again, in new memory.

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
        views = images.clone()
        for size, members in by_value(self.sizes(keys, epoch)):
            if size != side:
                where = members.to(images.device)
                views[where] = down_up(images[where], size, self.interpolation)
        return views


class BranchView:
    """What a branch sees in training: faces at r px, a share of them shrunk first to any size in (r / 2, r].

    So the recogniser feeds a branch under max and ceil: a face goes to the smallest branch that is not below it, and is
    resized once, by the same interpolation. Where branches halve from one to the next, their bands leave no size out.
    That a network loses at scales it was not trained at is measured in FixRes (arXiv 1906.06423). The teacher sees the
    aligned, sharp face all the while, so a teacher cache stays valid.

    Args:
        resolution: r in px.
        interpolation: one of `INTERPOLATIONS`.
        seed: of the run.
        size_band: share of the faces whose size is drawn from the band, evenly; the rest has r px.
        changes: applied to the faces first, in this order: `AlignmentJitter`, `Degradation`.

    Raises:
        ValueError: for a share that is not in [0, 1], or an unknown interpolation.
    """

    def __init__(
        self,
        resolution: int,
        *,
        interpolation: str = "bilinear",
        seed: int = 0,
        size_band: float = 0.0,
        changes: Sequence[View] = (),
    ) -> None:
        if not 0 <= size_band <= 1:
            raise ValueError(
                f"size_band={size_band:g}: expected the share of faces of any size in (r / 2, r], from 0 to 1"
            )
        self.resolution, self.size_band, self.seed = resolution, size_band, seed
        self.interpolation = check_interpolation(interpolation)
        self.changes = tuple(changes)

    def sizes(self, keys: Tensor, epoch: int) -> Tensor:
        """The size at which each face is seen before it is brought to r px, int64 [B]."""
        smallest = self.resolution // 2 + 1
        places = {"seed": self.seed, "epoch": epoch}
        drawn = smallest + draw(keys, purpose="band size", **places) % (self.resolution - smallest + 1)
        in_band = uniform(keys, 0, 1, purpose="in band", **places) < self.size_band
        return torch.where(in_band, drawn, self.resolution)

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Make the branch's input of mirrored faces, uint8 [B, 3, r, r]."""
        for change in self.changes:
            images = change(images, keys, epoch)
        if not self.size_band:
            return resize(images, self.resolution, self.interpolation)
        views = images.new_empty(*images.shape[:2], self.resolution, self.resolution)
        for size, members in by_value(self.sizes(keys, epoch)):
            where = members.to(images.device)
            small = resize(images[where], size, self.interpolation)
            views[where] = resize(small, self.resolution, self.interpolation)
        return views
