"""Faces aligned by landmarks that a detector found with errors: shifted, turned and scaled a little.

A branch's training faces were aligned where they were large. In the field the landmarks come from the small face, and
are wrong by a share of its size. The error is drawn for each landmark, and the similarity follows by the least-squares
fit of an alignment (Umeyama 1991; ArcFace's `norm_crop`), so that shift, rotation and scale have the sizes and
proportions that a detector's errors give them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from btnet.draws import bell

__all__ = ["AlignmentJitter"]

# Coordinates are whole numbers of 2 ** -16 px, weights of 2 ** -5 (as in OpenCV's warpAffine): all devices agree.
_COORDINATE_BITS, _WEIGHT_BITS = 16, 5
_LANDMARKS = 16  # room for them among a face's draws


class AlignmentJitter:
    """Moves each face as an alignment by jittered landmarks would.

    Args:
        error: standard deviation of a landmark on each axis, as a share of the face's side.
        landmarks: where they lie in an aligned image of so many px, [5, 2] as (x, y) in px;
            `btnet.serving.alignment.template`.
        seed: of the run.
        key: of the configuration, for messages; two keys draw independently.

    Raises:
        ValueError: if the error is not in (0, 0.2]: beyond, landmarks change places.
    """

    def __init__(
        self,
        error: float,
        landmarks: Callable[[int], NDArray[Any]],
        *,
        seed: int = 0,
        key: str = "alignment_jitter",
    ) -> None:
        if not 0 < error <= 0.2:
            raise ValueError(
                f"{key}={error:g}: expected a landmark error in (0, 0.2], as a share of the face's side, "
                "such as 0.02; or 0 for none"
            )
        self.error, self.seed, self._key = error, seed, key
        self._landmarks = landmarks

    def transforms(self, keys: Tensor, epoch: int, size: int) -> Tensor:
        """Where each output pixel is read: float64 [B, 2, 3] on the CPU, applied to (x, y, 1) of the output.

        `size` is the side of the images in px.
        """
        landmarks = torch.tensor(self._landmarks(size), dtype=torch.float64)
        which = keys.cpu()[:, None] * _LANDMARKS + torch.arange(landmarks.numel())
        errors = bell(which, seed=self.seed, epoch=epoch, purpose=self._key)
        target = torch.view_as_complex(landmarks)
        found = target + self.error * size * torch.view_as_complex(errors.reshape(len(keys), -1, 2))
        # Points of the plane as complex numbers: a similarity is p -> turn (p - middle) + target's middle.
        middle, target_middle = found.mean(1, keepdim=True), target.mean()
        turn = ((found - middle).conj() * (target - target_middle)).sum(1) / (
            found - middle
        ).abs().square().sum(1)
        back = 1 / turn
        shift = middle[:, 0] - back * target_middle
        rows = [
            torch.stack([back.real, -back.imag, shift.real], 1),
            torch.stack([back.imag, back.real, shift.imag], 1),
        ]
        return torch.stack(rows, 1)

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Move the faces, uint8 [B, 3, S, S]; beyond the edge lies the edge pixel again."""
        return _warp(images, self.transforms(keys, epoch, images.shape[-1]))


def _warp(images: Tensor, transforms: Tensor) -> Tensor:
    """Bilinear, in whole numbers."""
    batch, channels, height, width = images.shape
    fixed = (transforms * (1 << _COORDINATE_BITS)).round().long().to(images.device, non_blocking=True)
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device)[:, None]
    a, b, c = (value[:, :, None, None] for value in fixed.unbind(-1))
    half = 1 << (_COORDINATE_BITS - _WEIGHT_BITS - 1)
    positions = (a * x + b * y + c + half) >> (_COORDINATE_BITS - _WEIGHT_BITS)  # [B, 2, H, W] in 2 ** -5 px
    whole, fraction = positions >> _WEIGHT_BITS, (positions & ((1 << _WEIGHT_BITS) - 1)).int()
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    first = (torch.arange(batch, device=images.device) * (height * width))[:, None, None]
    total = torch.zeros(batch * height * width, channels, dtype=torch.int32, device=images.device)
    one = 1 << _WEIGHT_BITS
    for right in (0, 1):
        column = (whole[:, 0] + right).clamp_(0, width - 1)
        across = fraction[:, 0] if right else one - fraction[:, 0]
        for below in (0, 1):
            row = (whole[:, 1] + below).clamp_(0, height - 1)
            weight = across * (fraction[:, 1] if below else one - fraction[:, 1])
            read = pixels.index_select(0, (first + row * width + column).reshape(-1))
            total += read * weight.reshape(-1, 1)
    rounded = (total + (one * one >> 1)) >> (2 * _WEIGHT_BITS)
    return rounded.to(torch.uint8).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
