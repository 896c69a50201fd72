"""Native face crops: checked, and brought to the square size of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.images.resize import resize

__all__ = ["MIN_SIDE", "as_rgb", "fit_crops"]

MIN_SIDE = 4


def as_rgb(crop: NDArray[Any], where: str = "crop") -> NDArray[np.uint8]:
    """The crop as colour image, if it is one: grey levels become three channels, alpha is dropped.

    Both as image files are read. Depths other than 8 bits are refused: whether white is 255, 1023, 65535 or
    1.0 cannot be seen from an array.

    Args:
        crop: uint8 [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA); sides >= 4 px.
        where: how to call it in the message.

    Returns:
        uint8 RGB [H, W, 3]; the same memory where nothing is to be done.

    Raises:
        ValueError: for any other array, naming `where`.
    """
    if not isinstance(crop, np.ndarray):
        raise ValueError(f"{where} is a {type(crop).__name__}, expected a numpy array, uint8 RGB [H, W, 3]")
    if crop.dtype != np.uint8:
        hint = {
            "u": "if white is 65535, take (x >> 8).astype(np.uint8)",
            "f": "if white is 1.0, take (x * 255).round().astype(np.uint8)",
        }.get(crop.dtype.kind, "convert it to grey levels of 0 to 255")
        raise ValueError(f"{where} is {crop.dtype} {list(crop.shape)}, expected uint8 RGB [H, W, 3]; {hint}")
    image = crop[:, :, None] if crop.ndim == 2 else crop
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"{where} is uint8 {list(crop.shape)}, expected RGB [H, W, 3], grey [H, W] or RGBA [H, W, 4]"
        )
    height, width, channels = image.shape
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{where} is {width} x {height} px, expected at least {MIN_SIDE} x {MIN_SIDE}: there is no face "
            "to see in less; drop it"
        )
    if channels == 1:
        return np.repeat(image, 3, axis=2)
    return image[:, :, :3]


def fit_crops(
    crops: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], size: int, interpolation: str = "bilinear"
) -> NDArray[np.uint8]:
    """Bring native crops to the input size of a network: the path of serving and of native data sets.

    A crop that is not square is stretched to a square, each axis by its own factor: so the authors' code (and
    the field, on QMUL-SurvFace and TinyFace) feeds native crops, and their branches are trained on it.

    Args:
        crops: uint8 RGB [H, W, 3], of any sizes.
        size: side in px.
        interpolation: one of `btnet.data.INTERPOLATIONS`; the one the model was trained with.

    Returns:
        uint8 RGB [N, size, size, 3], rounded as every view.

    Raises:
        ValueError: as `btnet.data.resize`.
    """
    views = np.empty((len(crops), size, size, 3), np.uint8)
    for view, crop in zip(views, crops, strict=True):
        view[...] = resize(crop, size, interpolation)
    return views
