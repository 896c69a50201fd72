"""Encoded image <-> uint8 RGB array, through OpenCV."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.images.header import check_header

__all__ = ["CorruptImageError", "decode_image", "encode_jpeg", "encode_png"]

# OpenCV before 4.10 decodes to BGR only.
_RGB_FLAG: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)


class CorruptImageError(ValueError):
    """The bytes are not an image that can be read."""


def decode_image(data: bytes | NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, BMP or WebP.

    Args:
        data: the encoded bytes.
        where: file and key, for the error text.

    Returns:
        uint8 RGB, [H, W, 3]. Grey images get three equal channels, alpha is dropped.

    Raises:
        CorruptImageError: naming `where`, if the bytes do not decode, were cut short, are of another kind or announce
            more than `btnet.images.header.MAX_PIXELS`; a PNG also if its checksums do not fit.
    """
    encoded = np.frombuffer(data, np.uint8)
    image: Any = None
    # OpenCV raises on some broken ones, where it returns None for the rest.
    try:
        check_header(encoded.tobytes())
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR if _RGB_FLAG is None else _RGB_FLAG)
    except (cv2.error, ValueError) as error:
        raise CorruptImageError(
            _unreadable(encoded, where, f" ({' '.join(str(error).split())[:200]})")
        ) from error
    if image is None:
        raise CorruptImageError(_unreadable(encoded, where))
    if _RGB_FLAG is None:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    decoded: NDArray[np.uint8] = image
    return decoded


def encode_jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """Encode uint8 RGB [H, W, 3] as JPEG; quality 95 is what InsightFace packs with."""
    return _encode(image, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 RGB [H, W, 3] as PNG: larger, but it decodes to the same pixels."""
    return _encode(image, ".png", [])


def _encode(image: NDArray[np.uint8], ending: str, options: list[int]) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"image is {image.dtype} {list(image.shape)}, expected uint8 RGB [H, W, 3]; "
            "convert it before encoding"
        )
    encoded = cv2.imencode(ending, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1]
    return bytes(encoded.tobytes())


def _unreadable(encoded: NDArray[np.uint8], where: str, reason: str = "") -> str:
    start = encoded[:8].tobytes().hex() or "nothing"
    return f"{where}: not a readable image ({len(encoded)} bytes, starting with {start}){reason}; remove or replace it"
