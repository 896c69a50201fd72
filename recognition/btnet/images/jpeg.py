"""JPEG's losses for a batch of images, each at its own quality, on any device.

Colours go to YCbCr, chroma is halved (4:2:0), blocks of 8 x 8 px are quantised in the space of the cosine transform and
come back: baseline JPEG (ITU-T T.81) without its entropy coding, which loses nothing. Sums of products are exact in
float64 (weights are multiples of 2 ** -13, libjpeg's own precision), so that batch and device do not matter.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from btnet.images.resize import resize_float

__all__ = ["jpeg", "quantisation"]

# Tables K.1 and K.2 of T.81, luminance and chrominance, for quality 50
_LUMINANCE: Final = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMINANCE: Final = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99,
    99, 99, 99, 99, *[99] * 32,
)  # fmt: skip
_BLOCK: Final = 8
_MACROBLOCK: Final = 16  # what 4:2:0 rounds sizes up to
_BITS: Final = 13

# JFIF's, full range
_TO_YCBCR: Final = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def jpeg(images: Tensor, quality: Tensor, phase: Tensor | None = None) -> Tensor:
    """Compress and decompress.

    Args:
        images: uint8 RGB [B, 3, H, W] on any device.
        quality: int64 [B] in [1, 100], as libjpeg scales its tables.
        phase: int64 [B, 2], px in [0, 16) by which the blocks start above and left of the image: a face lies anywhere
            in its frame. Default: 0.

    Returns:
        uint8 [B, 3, H, W]; within a few grey levels of libjpeg's.

    Raises:
        ValueError: for a quality that is none.
    """
    if len(quality) and not 1 <= int(quality.min()) <= int(quality.max()) <= 100:
        raise ValueError(f"JPEG quality {quality.tolist()}: expected whole numbers from 1 to 100")
    batch, _, height, width = images.shape
    device = images.device
    phase = (torch.zeros(batch, 2, dtype=torch.int64) if phase is None else phase).to(device)
    rows, columns = (
        torch.arange(_frame(size), device=device) - start[:, None]
        for size, start in zip((height, width), phase.unbind(1), strict=True)
    )
    which = torch.arange(batch, device=device)[:, None, None]
    # Beyond the image lies its edge again, as encoders fill up blocks.
    frame = images.permute(0, 2, 3, 1)[
        which, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]
    ].permute(0, 3, 1, 2)
    luminance, chrominance = quantisation(quality)
    y, chroma = _split(frame.double())
    y = _lossy(y, luminance.to(device))
    chroma = _lossy(chroma, chrominance.to(device))
    found = _join(y, resize_float(chroma, (y.shape[-2], y.shape[-1]), "bilinear").double())
    inside = torch.arange(height, device=device) + phase[:, :1]
    across = torch.arange(width, device=device) + phase[:, 1:]
    return found.permute(0, 2, 3, 1)[which, inside[:, :, None], across[:, None]].permute(0, 3, 1, 2)


def quantisation(quality: Tensor) -> tuple[Tensor, Tensor]:
    """Quantisation tables of luminance and chrominance, float64 [B, 8, 8], rows being vertical frequencies."""
    scale = torch.where(quality < 50, 5000 // quality, 200 - 2 * quality)[:, None]
    found = [
        ((torch.tensor(table, device=quality.device) * scale + 50) // 100)
        .clamp(1, 255)
        .reshape(-1, _BLOCK, _BLOCK)
        for table in (_LUMINANCE, _CHROMINANCE)
    ]
    return found[0].double(), found[1].double()


def _frame(size: int) -> int:
    """Whole macroblocks that hold `size` px at any phase: the same for all images, whatever batch they are in."""
    return -(-(size + _MACROBLOCK - 1) // _MACROBLOCK) * _MACROBLOCK


def _split(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Y [B, 1, H, W], and Cb and Cr [B, 2, H / 2, W / 2], whole numbers around 0."""
    weights = torch.tensor(_TO_YCBCR, dtype=torch.float64, device=rgb.device)
    weights = (weights * (1 << _BITS)).round() / (1 << _BITS)
    ycbcr = ((weights[:, :, None, None] * rgb[:, None]).sum(2) + 0.5).floor()
    batch, _, height, width = rgb.shape
    squares = ycbcr[:, 1:].reshape(batch, 2, height // 2, 2, width // 2, 2)
    return ycbcr[:, :1] - 128, (squares.sum((3, 5)) / 4 + 0.5).floor()


def _lossy(plane: Tensor, table: Tensor) -> Tensor:
    """Through the quantised cosine transform; grey levels from 0 to 255."""
    batch, channels, height, width = plane.shape
    shape = (batch, channels, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    blocks = plane.reshape(shape).transpose(-2, -3)
    cosines = _cosines(plane.device)
    # One matrix product at a time leaves a block transposed; two of them do not.
    coefficients = ((blocks @ cosines.T).transpose(-1, -2) @ cosines.T).transpose(-1, -2)
    steps = table[:, None, None, None]
    kept = (coefficients / steps).round() * steps
    levels = ((kept @ cosines).transpose(-1, -2) @ cosines).transpose(-1, -2)
    return (levels + 128.5).floor().clamp(0, 255).transpose(-2, -3).reshape(plane.shape)


def _join(y: Tensor, chroma: Tensor) -> Tensor:
    cb, cr = (chroma - 128).unbind(1)
    y = y[:, 0]
    rgb = torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)
    return (rgb + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _cosines(device: torch.device) -> Tensor:
    """Orthonormal cosine transform, row k being frequency k."""
    rows = [
        [
            math.sqrt((1 if k == 0 else 2) / _BLOCK) * math.cos((2 * i + 1) * k * math.pi / (2 * _BLOCK))
            for i in range(_BLOCK)
        ]
        for k in range(_BLOCK)
    ]
    exact = torch.tensor(rows, dtype=torch.float64)
    return ((exact * (1 << _BITS)).round() / (1 << _BITS)).to(device)
