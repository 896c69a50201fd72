"""Targets: encoded images, and what is made of the landmarks of a face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from btnet.images.codec import decode_image, encode_jpeg, encode_png
from btnet.serving.alignment import TEMPLATE, align_face, face_size
from btnet.synthetic.faces import SyntheticFaces
from fuzzing.target import Change, Target, WrongAnswerError, plain

_MOST_PIXELS = 1 << 26


def _face(step: int = 2) -> Any:
    return np.ascontiguousarray(SyntheticFaces(2, 1, seed=5)[0][0][::step, ::step])


def _make_pictures(folder: Path) -> None:
    face = _face()
    bgr = cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    pictures = {
        "baseline.jpg": encode_jpeg(face),
        "progressive.jpg": cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "colour.png": encode_png(face),
        "grey.png": cv2.imencode(".png", bgr[..., 0])[1].tobytes(),
        "alpha.png": cv2.imencode(".png", np.dstack([bgr, bgr[..., 0]]))[1].tobytes(),
        "colour.bmp": cv2.imencode(".bmp", bgr)[1].tobytes(),
        "lossy.webp": cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 80])[1].tobytes(),
        "exact.webp": cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes(),
    }
    for name, content in pictures.items():
        (folder / name.replace(".", "_")).mkdir(exist_ok=True)
        (folder / name.replace(".", "_") / name).write_bytes(content)


def _read_picture(folder: Path) -> Any:
    [path] = [path for path in folder.iterdir() if path.suffix]
    image = decode_image(path.read_bytes(), str(path))
    if (
        image.ndim != 3
        or image.shape[2] != 3
        or image.dtype != np.uint8
        or not 0 < image.size <= 3 * _MOST_PIXELS
    ):
        raise WrongAnswerError(f"an image of {image.dtype} {list(image.shape)}")
    return plain(image)


def _judge_picture(original: Any, found: Any, change: Change) -> None:
    # Its chunks have checksums; what lies behind the last one is not looked at.
    if change.file.endswith(".png"):
        raise WrongAnswerError(f"{change.file} was changed and reads as another picture, shape {found[1]}")


def _make_landmarks(folder: Path) -> None:
    for name, dtype in (("single", "<f4"), ("double", "<f8"), ("whole", "<i4")):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "points").write_bytes((TEMPLATE * 1.3 + 8).astype(dtype).tobytes())


def _read_landmarks(folder: Path) -> Any:
    """Cut a face by landmarks that come from elsewhere as bytes."""
    content = (folder / "points").read_bytes()
    dtype = {"single": "<f4", "double": "<f8", "whole": "<i4"}[folder.name]
    values = np.frombuffer(content[: len(content) // 8 * 8], dtype)
    points = values.reshape(-1, 2) if len(values) % 2 == 0 else values
    frame = np.tile(_FRAME, (2, 2, 1))
    size = face_size(points)
    if not 0 < size < float("inf"):
        raise WrongAnswerError(f"a face of {size} px")
    crops = []
    for side, interpolation in ((112, "bilinear"), (14, "area"), (7, "bicubic_aa")):
        crop = align_face(frame, points, side, interpolation)
        if crop.shape != (side, side, 3) or crop.dtype != np.uint8:
            raise WrongAnswerError(f"a crop of {crop.dtype} {list(crop.shape)}")
        crops.append(plain(crop))
    return tuple(crops)


_FRAME = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)


def _accept(original: Any, found: Any, change: Change) -> None:
    """Other landmarks are another crop."""


TARGETS = (
    Target(
        "images", _make_pictures, _read_picture,
        limit="pixels of JPEG, WebP and BMP, which have no checksum; PNG has one, and is read as it was or refused",
        judge=_judge_picture, memory_mib=1024,
    ),
    Target(
        "landmarks", _make_landmarks, _read_landmarks, names="landmarks",
        limit="that a point is not where the eye is; the crop has the asked size and type", judge=_accept,
    ),
)  # fmt: skip
