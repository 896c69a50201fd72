"""Target: `.bin` verification sets, benign ones of every writer and pickles made to do harm."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

from btnet.data.bin_sets import read_bin, write_bin
from btnet.images.codec import encode_jpeg, encode_png
from fuzzing.mutators import damage, damage_pickle
from fuzzing.target import Change, Target, WrongAnswerError, plain


class _Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class _CallThenState(_Call):
    """Pickles as a call whose result is then given a state."""

    def __reduce__(self) -> Any:
        return (*self.call, {"x": _Call(os.system, "touch ran")})


def _laughs(depth: int, width: int, kind: bytes = b"]", add: bytes = b"a") -> bytes:
    """A list of the same list, `width` times, `depth` deep: a few bytes that are width ** depth items when walked."""
    levels = [b"]\x94"]
    for level in range(depth):
        get = b"h" + bytes([level])
        levels.append(kind + b"\x94" + (get + add) * width)
    return b"\x80\x04" + b"".join(levels)


def _bytes_by_memo(num: int) -> bytes:
    """One image of 1000 x 1000 px, `num` times in a list: gigabytes of pixels."""
    image = encode_png(np.zeros((1000, 1000, 3), np.uint8))
    body = b"B" + struct.pack("<I", len(image)) + image
    return (
        b"\x80\x04"
        + b"]("
        + body
        + b"\x94"
        + b"h\0" * (num - 1)
        + b"e"
        + b"]("
        + b"\x88" * (num // 2)
        + b"e\x86."
    )


def hostile_pickles() -> dict[str, bytes]:
    """Pickles that a plain reader would run, drown in, or be led astray by."""
    dtype, array = np.dtype("u1"), np.zeros(4, np.uint8)
    reduced: Any = array.__reduce__()
    wide = (reduced[2][0], (1 << 40,), dtype, False, b"")
    calls: dict[str, Any] = {
        "system": _Call(os.system, "touch ran"),
        "nested": _Call(np.dtype, _Call(eval, "__import__('os').system('touch ran')")),
        "state": _CallThenState(np.dtype, "u1", False, True),
        "getattr": _Call(getattr, _Call(__import__, "os"), "system"),
        "large bytes": _Call(bytes, 1 << 40),
        "large bytearray": _Call(bytearray, 1 << 34),
    }
    found = {
        f"{name} {protocol}": pickle.dumps(([call, call], [True]), protocol)
        for name, call in calls.items()
        for protocol in (0, 2, 4)
    }
    reconstruct = pickle.dumps(reduced[0], 2)[2:-1]
    raw = {
        "binbytes8": b"\x8e" + struct.pack("<Q", 1 << 62),
        "binbytes": b"B\xff\xff\xff\xff",
        "binunicode8": b"\x8d" + struct.pack("<Q", 1 << 40),
        "bytearray8": b"\x96" + struct.pack("<Q", 1 << 36),
        "binstring": b"T\xff\xff\xff\x7f",
        "long4": b"\x8b\xff\xff\xff\x7f",
        "long1 minus": b"\x8b\xff\xff\xff\xff",
        "frame": b"\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "frame crossed": b"\x95" + struct.pack("<Q", 12) + b"](B\x08\0\0\0B\xff\xff\xff\x7fxxxe](\x88e\x86.",
        "memo": b"]r\xff\xff\xff\x7f.",
        "memo text": b"]p99999999\n.",
        "digits": b"I" + b"9" * 100_000 + b"\n.",
        "deep": b"]" * 20_000 + b"a" * 19_999 + b".",
        "deep tuple": b")" + b"\x85" * 20_000 + b".",
        "self": b"]\x94h\0a.",
        "pair of self": b"]\x94h\0a](\x88e\x86.",
        "laughs": _laughs(30, 10)[2:] + b"](\x88e\x86.",
        "laughs of tuples": b")\x94"
        + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        + b"](\x88e\x86.",
        "bytes by memo": _bytes_by_memo(2000)[2:],
        "array": b"]("
        + reconstruct
        + pickle.dumps(reduced[1], 2)[2:-1]
        + b"R"
        + pickle.dumps(wide, 2)[2:-1]
        + b"be](\x88e\x86.",
        "laughs as key": b")\x94"
        + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(60))
        + b"}h\x3cNs.",
        "persistent": b"Pos.system\n.",
        "extension": b"\x82\x01.",
        "instance": b"(S'touch ran'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'touch ran'\no.",
    }
    return found | {name: b"\x80\x04" + body for name, body in raw.items()}


def _make(folder: Path) -> None:
    rng = np.random.default_rng(0)
    images = np.kron(rng.integers(0, 256, (4, 3, 3, 3), dtype=np.uint8), np.ones((1, 4, 4, 1), np.uint8))
    encoded = [encode_png(image) for image in images]
    arrays = [np.frombuffer(item, np.uint8) for item in encoded]
    strings = b"".join(b"T" + struct.pack("<i", len(item)) + item for item in encoded)
    seeds = {
        "arrays": pickle.dumps((arrays, np.array([True, False])), 2),
        "python 2": b"\x80\x02](" + strings + b"e](\x88\x89e\x86.",
        "text": pickle.dumps((encoded, [True, False]), 0),
        "latest": pickle.dumps(([bytearray(item) for item in encoded], [np.bool_(True), False]), 5),
    }
    for name, content in (
        seeds | {f"{_HOSTILE} {name}": body for name, body in hostile_pickles().items()}
    ).items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "set.bin").write_bytes(content)
    for name, kind in (("png", encode_png), ("jpeg", encode_jpeg)):
        (folder / name).mkdir(exist_ok=True)
        write_bin(folder / name / "set.bin", [kind(image) for image in images], [True, False])


_HOSTILE: Final = "hostile"


def _read(folder: Path) -> Any:
    images, issame = read_bin(folder / "set.bin")
    if len(images) != 2 * len(issame) or images.nbytes > 200 << 20:
        raise WrongAnswerError(f"{len(images)} images of {images.nbytes} bytes for {len(issame)} pairs")
    if (folder / "ran").exists() or Path("ran").exists():
        raise WrongAnswerError("the pickle ran a command")
    return plain(images), plain(issame)


def _judge(original: Any, found: Any, change: Change) -> None:
    """Flags and order of images are bare in the pickle; pictures are PNGs with a checksum, except in one seed."""
    if original is None or change.seed == "jpeg":
        return
    size = len(original[0][2]) // original[0][1][0]
    pictures = {original[0][2][i : i + size] for i in range(0, len(original[0][2]), size)}
    for i in range(0, len(found[0][2]), size):
        if found[0][2][i : i + size] not in pictures:
            raise WrongAnswerError(f"image {i // size} is none of those written")


TARGETS = (
    Target(
        ".bin sets", _make, _read, ("set.bin",),
        limit="flags, order and JPEG pixels: a pickle has no checksum", judge=_judge, mutators=(damage, damage_pickle),
    ),
)  # fmt: skip
