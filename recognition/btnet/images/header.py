"""Checks of an encoded image before it is decoded: kind, size, whether it is whole.

A few bytes can announce an image of gigabytes, and decoders fill in what a damaged file lacks. Both are refused here,
as far as a file can tell: PNG has checksums, JPEG and WebP have none.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Final

import simplejpeg

__all__ = ["KIND_BYTES", "MAX_PIXELS", "READABLE", "check_header", "image_kind"]

MAX_PIXELS: Final = 1 << 26
"""In one image: 67 million, 201 MB decoded. A camera's frame has fewer."""

READABLE: Final = ("JPEG", "PNG", "BMP", "WebP")

KIND_BYTES: Final = 32
"""As many first bytes tell the kind."""

# Where the mark stands, and the mark.
_KINDS: Final = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("WebP", 8, b"WEBP"),
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    *(("HEIF", 4, b"ftyp" + brand) for brand in (b"hei", b"hev", b"mif", b"msf", b"avif", b"avis")),
    ("JPEG 2000", 4, b"jP  \r\n\x87\n"),
    ("JPEG XL", 4, b"JXL \r\n\x87\n"),
    ("Photoshop", 0, b"8BPS"),
)
_BMP_HEADERS: Final = (12, 40, 52, 56, 64, 108, 124)  # bytes, by version
_BMP_SIZES_END: Final = 26

_PNG_START, _PNG_END = 8, b"IEND"
# Markers of JPEG (ITU-T T.81): baseline and extended frames, Huffman tables, start of a scan; and what ends one.
_SEQUENTIAL, _TABLES, _SCAN = (0xC0, 0xC1), 0xC4, 0xDA
_AFTER_SCAN: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_JPEG_HOLE: Final = bytes(16)
# Of zeros in compressed data. Faces have 5 at most; 64 are 600,000 px of one colour.
_WEBP_HOLE: Final = bytes(64)


def image_kind(start: bytes) -> str:
    """The kind of an image by its first `KIND_BYTES` bytes: one of `READABLE`, another one, or "" for no image."""
    for kind, place, mark in _KINDS:
        if start.startswith(mark, place):
            return kind
    is_bmp = start.startswith(b"BM") and start[6:10] == bytes(4) and len(start) >= _BMP_SIZES_END
    return "BMP" if is_bmp and int.from_bytes(start[14:18], "little") in _BMP_HEADERS else ""


def check_header(data: bytes) -> None:
    """Raise ValueError for an image that is too large, visibly damaged, or no JPEG, PNG, BMP or WebP."""
    kind = image_kind(data[:KIND_BYTES])
    if kind not in READABLE:
        raise ValueError(f"{f'a {kind}' if kind else 'no image'}, expected JPEG, PNG, BMP or WebP")
    width, height = {"JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp}[kind](data)
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"announces {width} x {height} px, expected at most {MAX_PIXELS} pixels")


def _jpeg(data: bytes) -> tuple[int, int]:
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:  # libjpeg-turbo has one text for whatever is wrong there
        raise ValueError("a JPEG whose header is damaged, or whose chroma sampling is unusual") from error
    if _JPEG_HOLE in data and _has_hole(data):
        raise ValueError("a JPEG with zeros in the place of its data, it is damaged")
    return int(width), int(height)


def _has_hole(data: bytes) -> bool:
    """Whether the only scan of a JPEG holds zeros that are no flat part of the picture.

    Zeros are the first code of each Huffman table, over and over. Where that says "as before" and "end of block" in
    all tables, they are blocks of one colour; by the standard's own tables they are a -1 at every frequency.
    """
    place, is_sequential, first_codes = 2, False, set()
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == _TABLES:
            place += 4
            while place + 17 < end:
                first_codes.add(data[place + 17])
                place += 17 + sum(data[place + 1 : place + 17])
        elif marker in _SEQUENTIAL:
            is_sequential = True
        elif marker == _SCAN:
            scan_end = _AFTER_SCAN.search(data, end)
            return (
                is_sequential
                and first_codes != {0}
                and _JPEG_HOLE in data[end : scan_end and scan_end.start()]
            )
        place = end
    return False


def _png(data: bytes) -> tuple[int, int]:
    place, size = _PNG_START, (0, 0)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(data[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"a PNG whose part {kind!r} does not match its checksum, it is damaged")
        if place == _PNG_START:
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
    place = 12
    while place + 8 <= len(data):
        kind, end = data[place : place + 4], place + 8 + int.from_bytes(data[place + 4 : place + 8], "little")
        if kind in (b"VP8 ", b"VP8L") and _WEBP_HOLE in data[place + 8 : end]:
            raise ValueError("a WebP with zeros in the place of its data, it is damaged")
        place = end + end % 2
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
