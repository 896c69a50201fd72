"""Decoding: whole images of every kind come as OpenCV has them, damaged ones are named."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from btnet.images.codec import CorruptImageError, decode_image, encode_jpeg, encode_png
from btnet.synthetic.faces import SyntheticFaces

FACES = [SyntheticFaces(12, 1, seed=3)[i][0] for i in range(12)]
END = b"\xff\xd9"
Damage = Callable[[bytes, bytes, random.Random], bytes]

KINDS: dict[str, dict[str, Any]] = {
    "4:2:0": {"subsampling": 2},
    "4:4:4": {"subsampling": 0},
    "optimised": {"subsampling": 2, "optimize": True},
    "progressive": {"subsampling": 2, "progressive": True},
    "restart markers": {"subsampling": 2, "restart_marker_blocks": 2},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "RGB": {"subsampling": 0, "keep_rgb": True},
}


def pillow(image: NDArray[np.uint8], *, mode: str = "RGB", quality: int = 90, **options: Any) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(image).convert(mode).save(stored, "JPEG", quality=quality, **options)
    return stored.getvalue()


def exif(orientation: int, thumbnail: bytes = b"") -> bytes:
    tags = b"\x01\x00" + b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    return b"Exif\0\0II*\0\x08\0\0\0" + tags + bytes(4) + thumbnail


def opencv(data: bytes) -> NDArray[np.uint8]:
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image[..., ::-1], np.uint8)


def data_of(jpeg: bytes) -> tuple[int, int]:
    """Where the compressed data begin and end."""
    scan = jpeg.rindex(b"\xff\xda") if b"Exif" in jpeg else jpeg.index(b"\xff\xda")
    return scan + 2 + int.from_bytes(jpeg[scan + 2 : scan + 4], "big"), len(jpeg) - len(END)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(112, 112), (7, 13), (90, 61)])
def test_a_whole_jpeg_comes_to_opencvs_pixels(kind: str, size: tuple[int, int]) -> None:
    for face in FACES[:3]:
        data = pillow(np.asarray(cv2.resize(face, size), np.uint8), **KINDS[kind])
        np.testing.assert_array_equal(decode_image(data, "x"), opencv(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_turned_as_exif_says(orientation: int) -> None:
    data = pillow(FACES[0][:80], exif=exif(orientation))
    decoded = decode_image(data, "x")
    assert decoded.shape == ((80, 112, 3) if orientation < 5 else (112, 80, 3))
    np.testing.assert_array_equal(decoded, opencv(data))


@pytest.mark.parametrize(
    "behind", [bytes(1), bytes(4096), b"\xff" * 7, b"Image_UTC_Data1234", encode_jpeg(FACES[1])]
)
@pytest.mark.parametrize("kind", ["4:2:0", "progressive"])
def test_what_cameras_append_to_a_jpeg_is_no_damage(kind: str, behind: bytes) -> None:
    data = pillow(FACES[0], **KINDS[kind])
    np.testing.assert_array_equal(decode_image(data + behind, "x"), opencv(data))


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("options", [{"optimize": True}, {"progressive": True}, {}])
def test_large_areas_of_one_colour_are_no_damage(value: int, options: dict[str, Any]) -> None:
    """Their compressed data may be all zeros."""
    flat = np.full((400, 400, 3), value, np.uint8)
    framed = flat.copy()
    framed[144:256, 144:256] = FACES[0]
    for image in (flat, framed):
        data = pillow(image, **options)
        np.testing.assert_array_equal(decode_image(data, "x"), opencv(data))


def _cut(data: bytes, _: bytes, draws: random.Random) -> bytes:
    return data[: draws.randrange(4, len(data) - 1)]


def _cut_and_ended(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    return data[: draws.randrange(start, end - 8)] + END


def _zero_tail(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    place = draws.randrange(start, end)
    return data[:place] + bytes(len(data) - place)


def _zero_tail_and_ended(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    place = draws.randrange(start, end - 16)
    return data[:place] + bytes(end - place) + END


def _hole(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    length = min(draws.choice([20, 64, 128, 512]), (end - start) // 2)
    place = draws.randrange(start, end - length)
    return data[:place] + bytes(length) + data[place + length :]


def _hole_of_ones(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    place = draws.randrange(start, end - 40)
    return data[:place] + b"\xff" * 32 + data[place + 32 :]


def _seven_bits(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    return data[:start] + bytes(byte & 127 for byte in data[start:end]) + data[end:]


def _line_ends(data: bytes, _: bytes, draws: random.Random) -> bytes:
    return data.replace(b"\n", b"\r\n")


def _joined(data: bytes, other: bytes, draws: random.Random) -> bytes:
    (start, end), (other_start, other_end) = data_of(data), data_of(other)
    share = draws.uniform(0.2, 0.8)
    return (
        data[: start + int(share * (end - start))]
        + other[other_start + int(share * (other_end - other_start)) :]
    )


def _dropped(data: bytes, _: bytes, draws: random.Random) -> bytes:
    start, end = data_of(data)
    place = draws.randrange(start, end - 520)
    return data[:place] + data[place + 512 :]


SEEN_ALWAYS: list[Damage] = [
    _cut,
    _cut_and_ended,
    _zero_tail,
    _zero_tail_and_ended,
    _hole_of_ones,
    _seven_bits,
    _line_ends,
]


def share_refused(damage: Damage, kind: str, *, tries: int, seed: int = 1) -> float:
    draws = random.Random(seed)
    stored = [pillow(face, **KINDS[kind]) for face in FACES]
    refused = 0
    for _ in range(tries):
        data, other = draws.sample(stored, 2)
        damaged = damage(data, other, draws)
        assert damaged != data
        try:
            decode_image(damaged, "here")
        except CorruptImageError:
            refused += 1
    return refused / tries


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "optimised", "progressive", "restart markers", "grey"])
@pytest.mark.parametrize("damage", SEEN_ALWAYS)
def test_a_jpeg_whose_data_end_early_or_make_no_code_is_refused(damage: Damage, kind: str) -> None:
    # The scans of a progressive one may all be there, and the last of them fill up by chance.
    assert share_refused(damage, kind, tries=40) >= (0.9 if kind == "progressive" else 1)


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "restart markers", "grey"])
def test_a_jpeg_with_a_hole_of_zeros_is_refused(kind: str) -> None:
    assert share_refused(_hole, kind, tries=60) == 1


@pytest.mark.parametrize("kind", ["4:2:0", "4:4:4", "progressive", "restart markers"])
@pytest.mark.parametrize("damage", [_joined, _dropped])
def test_most_jpegs_of_two_halves_or_without_their_middle_are_refused(damage: Damage, kind: str) -> None:
    """JPEG has no checksum: where the blocks that are there happen to be as many, they are a picture."""
    # About 0.80 of halves at 4:2:0, where blocks are fewest; 0.93 and more of all others; less 3 standard deviations.
    least = 0.7 if damage is _joined and kind == "4:2:0" else 0.86
    assert share_refused(damage, kind, tries=150) >= least


def test_restart_markers_that_are_wrong_gone_or_doubled_are_refused() -> None:
    data = pillow(FACES[0], **KINDS["restart markers"])
    start = data_of(data)[0]
    places = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", data) if match.start() > start]
    assert len(places) > 10
    for first, second in pairwise(places):
        renumbered = data[: first + 1] + bytes([0xD0 + (data[first + 1] + 3) % 8]) + data[first + 2 :]
        for damaged in (renumbered, data[:first] + data[first + 2 :], data[:first] + data[second:]):
            with pytest.raises(CorruptImageError, match="here: "):
                decode_image(damaged, "here")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_a_thumbnail_does_not_stand_for_the_picture_that_was_cut_off(share: float) -> None:
    thumbnail = encode_jpeg(np.asarray(cv2.resize(FACES[1], (48, 48)), np.uint8))
    data = pillow(FACES[0], exif=exif(1, thumbnail))
    np.testing.assert_array_equal(decode_image(data, "x"), opencv(data))
    decode_image(pillow(FACES[2]), "an image before")
    start, end = data_of(data)
    for damaged in (data[: start + int(share * (end - start))], data[: int(share * start)]):
        with pytest.raises(CorruptImageError, match="here: "):
            decode_image(damaged, "here")


def _png(image: NDArray[np.uint8]) -> bytes:
    return encode_png(image)


def _bmp(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".bmp", image)[1].tobytes())


def _webp(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes())


def _exact_webp(image: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes())


@pytest.mark.parametrize("encode", [_png, _bmp, _webp, _exact_webp])
def test_other_kinds_that_were_cut_are_refused(encode: Callable[[NDArray[np.uint8]], bytes]) -> None:
    data = encode(FACES[0])
    assert decode_image(data, "x").shape == FACES[0].shape
    for end in (*range(1, 60, 7), *range(60, len(data), len(data) // 20), len(data) - 1):
        with pytest.raises(CorruptImageError, match="here: not a readable image"):
            decode_image(data[:end], "here")


@pytest.mark.parametrize("encode", [_png, _webp, _exact_webp])
def test_other_kinds_with_zeros_in_the_place_of_data_are_refused(
    encode: Callable[[NDArray[np.uint8]], bytes],
) -> None:
    data = encode(FACES[0])
    for start in range(60, len(data) - 70, len(data) // 20):
        for damaged in (
            data[:start] + bytes(66) + data[start + 66 :],
            data[:start] + bytes(len(data) - start),
        ):
            with pytest.raises(CorruptImageError, match="here: not a readable image"):
                decode_image(damaged, "here")


def test_webp_of_one_colour_and_of_noise_is_no_damage() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    for image in (np.full((112, 112, 3), 200, np.uint8), noise):
        for encode in (_webp, _exact_webp):
            assert decode_image(encode(image), "x").shape == (112, 112, 3)
