"""Resizing of face images with named interpolation: the one arithmetic of every device, host path and graph.

All interpolations are separable: an output pixel is a weighted sum of a few source pixels along one axis,
then along the other. Weights are rounded to multiples of a power of two, so that every product and partial
sum fits the 24 bits of a float32 exactly. Order of summation, fused multiply-add, batch size, compiler and
device can therefore not change a result: a view is equal bit by bit wherever it is made. (On a device, matrix
products would be faster for large batches, but TF32 and autocast would round them. NumPy knows neither: a
single small image is resized by two of its products, several times as fast as by torch's calls.)

`bilinear` is bit-equal to OpenCV for 112 -> 56 / 28 / 14 / 7; elsewhere each interpolation stays within one
grey level of the library it is named after.
"""

from functools import lru_cache
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from btnet.images.interpolation import INTERPOLATIONS, check_interpolation, quantised_taps

__all__ = ["INTERPOLATIONS", "resize", "resize_float"]

# The 24 bits of a float32. First pass: 8 for the grey level, 1 for a bicubic overshoot, 15 for the weights;
# the second pass meets fractions of a grey level: 9 + 3 + 12.
_FIRST_PASS_BITS = 15
_FRACTION_BITS = 3
_SECOND_PASS_BITS = 12
# Beyond, the zeros of the matrices cost more than torch's calls.
_SMALL_PX = 128


@overload
def resize(images: Tensor, size: int | tuple[int, int], interpolation: str = "bilinear") -> Tensor: ...
@overload
def resize(
    images: npt.NDArray[np.uint8], size: int | tuple[int, int], interpolation: str = "bilinear"
) -> npt.NDArray[np.uint8]: ...
def resize(
    images: Tensor | npt.NDArray[np.uint8], size: int | tuple[int, int], interpolation: str = "bilinear"
) -> Tensor | npt.NDArray[np.uint8]:
    """Resize uint8 images; up or down, square or not.

    Args:
        images: uint8 torch [B, 3, H, W] on any device, or uint8 numpy [H, W, 3].
        size: target in px: one number (square) or (height, width).
        interpolation: one of `INTERPOLATIONS`.

    Returns:
        Images of the same kind (torch on the same device), uint8, rounded by floor(x + 0.5). Both kinds
        give equal values.

    Raises:
        ValueError: if the images are not uint8 of that shape, are empty, or the size or name is not known.
    """
    if isinstance(images, Tensor):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(
                f"resize got a {images.dtype} tensor of shape {list(images.shape)}, expected torch.uint8 "
                "[B, 3, H, W]; for float images use resize_float"
            )
        return resize_float(images, size, interpolation).to(torch.uint8)
    if images.dtype != np.uint8 or images.ndim != 3:
        raise ValueError(
            f"resize got a {images.dtype} array of shape {list(images.shape)}, expected uint8 [H, W, 3]; "
            "stack several images into a torch tensor [B, 3, H, W]"
        )
    height, width = _height_and_width(size)
    if images.size and max(*images.shape[:2], height, width) <= _SMALL_PX:
        return _resize_small(images, height, width, check_interpolation(interpolation))
    # Copied only where torch cannot share the memory: negative strides (image[..., ::-1]), read-only files.
    nchw = torch.from_numpy(np.require(images, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = resize_float(nchw, size, interpolation).to(torch.uint8)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def resize_float(images: Tensor, size: int | tuple[int, int], interpolation: str = "bilinear") -> Tensor:
    """Core of `resize`, for use inside an exported graph: grey levels in, whole grey levels out, as float32.

    Built of index_select, multiply, add and floor only; indices and weights are constants of the graph, so
    the spatial size of the source must be known when exporting (the batch may be dynamic).

    Args:
        images: whole grey levels in [0, 255], any dtype, [B, 3, H, W].
        size: target in px: one number (square) or (height, width).
        interpolation: one of `INTERPOLATIONS`.

    Returns:
        float32 [B, 3, height, width], whole numbers in [0, 255].

    Raises:
        ValueError: if the size or name is not known, or an image is empty.
    """
    check_interpolation(interpolation)
    height, width = _height_and_width(size)
    source_height, source_width = int(images.shape[-2]), int(images.shape[-1])
    if source_height < 1 or source_width < 1:
        raise ValueError(
            f"images of {source_height} x {source_width} px hold no pixel; drop empty crops first"
        )
    if (source_height, source_width) == (height, width):
        return images.to(torch.float32)
    first, second = _passes(source_height, source_width, height, width, interpolation)
    out = _round(_along(images, first), _FRACTION_BITS)
    if interpolation.endswith("_aa"):
        # Pillow makes uint8 of the first pass. Clipping is followed: it shows. Rounding is not: where ours
        # and Pillow's fell apart at a half, the second pass could make two grey levels of it.
        out = out.clamp_(0, 255)
    return _round(_along(out, second)).clamp_(0, 255)


class _Pass(NamedTuple):
    """One axis to be resized."""

    axis: int
    source: int
    target: int
    interpolation: str
    enlarging: bool
    bits: int


def _passes(
    source_height: int, source_width: int, height: int, width: int, interpolation: str
) -> tuple[_Pass, _Pass]:
    # Columns first is three times as fast when shrinking: rows that no tap meets are never read. Pillow's
    # order shows where it clips between the passes, so its rule (13.0; earlier always rows first, the same
    # for square to square) is followed there.
    rows, columns = (-1, source_width, width), (-2, source_height, height)
    shrinks_by = source_height - height
    antialiased = interpolation.endswith("_aa")
    columns_first = shrinks_by > (max(0, 2 * (source_width - width)) if antialiased else 0)
    first, second = (columns, rows) if columns_first else (rows, columns)
    enlarging = height > source_height or width > source_width
    return (
        _Pass(*first, interpolation, enlarging, _FIRST_PASS_BITS),
        _Pass(*second, interpolation, enlarging, _SECOND_PASS_BITS),
    )


def _resize_small(
    image: npt.NDArray[np.uint8], height: int, width: int, interpolation: str
) -> npt.NDArray[np.uint8]:
    """The passes of `resize_float` as products with dense matrices, in NumPy."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    out: npt.NDArray[np.float32] = image.astype(np.float32)
    passes = _passes(image.shape[0], image.shape[1], height, width, interpolation)
    for number, one in enumerate(passes):
        if one.source != one.target:
            weights = _matrix(one)
            if one.axis == -1:
                out = np.matmul(weights, out)
            else:
                out = (weights @ out.reshape(one.source, -1)).reshape(one.target, *out.shape[1:])
        scale = np.float32(1 << _FRACTION_BITS if number == 0 else 1)
        out = np.floor(out * scale + np.float32(0.5)) / scale
        if number == 1 or interpolation.endswith("_aa"):
            out = out.clip(0, 255)
    return out.astype(np.uint8)


@lru_cache(maxsize=1024)
def _matrix(one: _Pass) -> npt.NDArray[np.float32]:
    matrix = np.zeros((one.target, one.source), np.float32)
    indices, weights = quantised_taps(one.source, one.target, one.interpolation, one.enlarging, one.bits)
    for tap_indices, tap_weights in zip(indices, weights, strict=True):
        # Added, not set: at the edge several taps fall on one pixel.
        matrix[np.arange(one.target), tap_indices] += np.array(tap_weights, np.float32)
    return matrix


def _along(images: Tensor, one: _Pass) -> Tensor:
    if one.source == one.target:
        return images.to(torch.float32)
    indices, weights = quantised_taps(one.source, one.target, one.interpolation, one.enlarging, one.bits)
    # Made anew each time (a few hundred bytes): a cached tensor would leak out of the graph being traced.
    index = torch.tensor(indices, device=images.device)
    weight = torch.tensor(weights, dtype=torch.float32, device=images.device)
    if one.axis == -2:
        weight = weight[:, :, None]
    total: Tensor | None = None
    for tap_index, tap_weight in zip(index.unbind(), weight.unbind(), strict=True):
        # In place, on memory of our own: twice as fast when enlarging.
        term = images.index_select(one.axis, tap_index).to(torch.float32).mul_(tap_weight)
        total = term if total is None else total.add_(term)
    assert total is not None
    return total


def _round(values: Tensor, fraction_bits: int = 0) -> Tensor:
    if fraction_bits == 0:
        return (values + 0.5).floor_()
    scale = float(1 << fraction_bits)
    return (values * scale).add_(0.5).floor_().div_(scale)


def _height_and_width(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple) else (size, size)
    if height < 1 or width < 1:
        raise ValueError(
            f"size {size!r} is no image size; expected px >= 1, as one number or (height, width)"
        )
    return int(height), int(width)
