"""Encoded image <-> uint8 RGB array.

JPEG, which has no checksum, is decoded by simplejpeg: libjpeg-turbo as in OpenCV and to the same pixels, but what
it would only warn of (data that end early, go on too long, or make no code) is an error. The rest is OpenCV's.
"""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from btnet.images.header import KIND_BYTES, check_header, image_kind

__all__ = ["CorruptImageError", "decode_image", "encode_jpeg", "encode_png"]

_EXIF = b"Exif\0\0"


class CorruptImageError(ValueError):
    """The bytes are not an image that can be read."""


def decode_image(data: bytes | NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG, BMP or WebP to uint8 RGB [H, W, 3], turned as EXIF says.

    Grey images get three equal channels, alpha is dropped.

    Raises:
        CorruptImageError: naming `where`, if the bytes do not decode, were cut short, are of another kind or announce
            more than `btnet.images.header.MAX_PIXELS`; a PNG also if its checksums do not fit, a JPEG if its data are
            not those of a whole picture.
    """
    encoded = bytes(np.frombuffer(data, np.uint8))
    # OpenCV raises on some broken ones, where it returns None for the rest.
    try:
        check_header(encoded)
        return _decode(encoded)
    except (cv2.error, ValueError) as error:
        start = encoded[:8].hex() or "nothing"
        reason = " ".join(str(error).split())[:200]
        raise CorruptImageError(
            f"{where}: not a readable image ({len(encoded)} bytes, starting with {start}) ({reason}); "
            "remove or replace it"
        ) from error


def _decode(encoded: bytes) -> NDArray[np.uint8]:
    if image_kind(encoded[:KIND_BYTES]) == "JPEG":
        decoded: NDArray[np.uint8] = simplejpeg.decode_jpeg(encoded)
        if _EXIF not in encoded:
            return decoded
    # Also a whole JPEG that may have to be turned.
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("it does not decode")
    return np.asarray(image, np.uint8)


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
