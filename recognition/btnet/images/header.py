"""What an encoded image says of itself before it is decoded: kind, size, whether it is whole.

A few bytes can announce an image of gigabytes, and decoders fill in what is missing from a file that was cut short.
Here both are seen first. Of the kinds a face comes in, PNG has checksums; they are checked, decoders vary in that.
"""

from __future__ import annotations

import struct
import zlib

__all__ = ["MAX_PIXELS", "check_header"]

MAX_PIXELS = 1 << 26
"""Of one image: 67 million, 201 MB decoded. A camera's frame has fewer."""

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Start of frame: all of C0 .. CF but the tables DHT, JPG and DAC.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length


def check_header(data: bytes) -> None:
    """Refuse an encoded image that is too large, cut short, or of a kind that no face comes in.

    Args:
        data: JPEG, PNG, BMP or WebP.

    Raises:
        ValueError: saying what is wrong; of no more than that, the decoder judges the rest.
    """
    if data.startswith(_JPEG):
        width, height = _jpeg(data)
    elif data.startswith(_PNG):
        width, height = _png(data)
    elif data.startswith(b"BM") and len(data) >= 26:
        width, height = _bmp(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        width, height = _webp(data)
    else:
        raise ValueError("neither JPEG, PNG, BMP nor WebP")
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"announces {width} x {height} px, expected at most {MAX_PIXELS} pixels")


def _jpeg(data: bytes) -> tuple[int, int]:
    if _JPEG_END not in data[-4096:] and _JPEG_END not in data:
        raise ValueError("a JPEG without its end, it was cut short")
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _JPEG_BARE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("a JPEG without a frame")


def _png(data: bytes) -> tuple[int, int]:
    place, size = len(_PNG), (0, 0)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"a PNG whose part {kind!r} does not match its checksum, it is damaged")
        if place == len(_PNG):
            if kind != b"IHDR" or length != 13:
                break
            size = struct.unpack_from(">II", data, place + 8)
        if kind == _PNG_END:
            return size
        place = end + 4
    raise ValueError("a PNG without its end, it was cut short")


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # OS/2
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: stored from the top


def _webp(data: bytes) -> tuple[int, int]:
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ValueError("a WebP that was cut short")
    kind = data[12:16]
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise ValueError("a WebP without a frame")
