"""Faces as people have them, to crops: paths, PIL images, arrays, tensors."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.images.codec import decode_image
from btnet.serving.crops import as_rgb

__all__ = ["as_crops", "read_crop"]


def read_crop(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as a crop that a recogniser takes, uint8 RGB [H, W, 3].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no image, or too small for a face.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such image file")
    return as_rgb(decode_image(path.read_bytes(), str(path)), str(path))


def as_crops(faces: Iterable[Any]) -> list[NDArray[np.uint8]]:
    """Turn faces of any of these kinds into crops.

    Args:
        faces: a list of paths of image files, PIL images, arrays as `btnet.serving.crops.as_rgb` takes them, and
            tensors uint8 [3, H, W] (RGB).

    Returns:
        uint8 RGB [H, W, 3] each, in order.

    Raises:
        FileNotFoundError: for a path without a file.
        ValueError: naming the face, for anything else.
    """
    whole = isinstance(faces, (np.ndarray, torch.Tensor))
    if isinstance(faces, (str, os.PathLike)) or (whole and faces.ndim != 4) or _is_pil(faces):  # type: ignore[attr-defined]
        shape = f" {list(faces.shape)}" if whole else ""  # type: ignore[attr-defined]
        raise ValueError(f"faces are one {type(faces).__name__}{shape}; give a list, [face] for a single one")
    return [_as_crop(face, f"face {index}") for index, face in enumerate(faces)]


def _as_crop(face: Any, where: str) -> NDArray[np.uint8]:
    if isinstance(face, (str, os.PathLike)):
        return read_crop(face)
    if isinstance(face, torch.Tensor):
        if face.dtype != torch.uint8 or face.ndim != 3 or face.shape[0] != 3:
            raise ValueError(
                f"{where} is a tensor {face.dtype} {list(face.shape)}, expected uint8 RGB [3, H, W]; if white is 1.0, "
                "take (x * 255).round().to(torch.uint8)"
            )
        face = face.permute(1, 2, 0).cpu().numpy()
    elif _is_pil(face):
        face = np.asarray(face.convert("RGB"))
    return as_rgb(face, where)


def _is_pil(face: Any) -> bool:
    pil = sys.modules.get("PIL.Image")  # who gives one has imported it
    return pil is not None and isinstance(face, pil.Image)
