"""Ways to damage a file: its bytes, and the documents and archives inside, so that damage gets past the first check.

A mutator takes contents and a source of chance, and returns other contents; the same chance gives the same contents.
"""

from __future__ import annotations

import io
import json
import pickletools
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

Mutator = Callable[[bytes, Random], bytes]

_EXTREMES = (
    0,
    1,
    -1,
    2,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
    -(2**63),
)
_ODD_TEXTS = (
    b"\0",
    b"\xff" * 4,
    b"{",
    b"[" * 2000,
    b"\n",
    b"\t",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 40,
    b"../../etc/passwd",
)
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 15, 2**31, 2**63, 10**400, 1.5, 1e308, float("nan"), float("inf"), "", "x", "\0",
    "../../etc/passwd", "/etc/passwd", "é" * 5, "\ud800", [], [1], [[]], [None], {}, {"": 0}, "9" * 5000,
)  # fmt: skip


def damage(content: bytes, chance: Random) -> bytes:
    """One to four changes of bytes anywhere."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        content = chance.choice(_BYTE_CHANGES)(content, chance)
    return content


def _flip(content: bytes, chance: Random) -> bytes:
    return _overwrite(content, chance, lambda old: bytes([old[0] ^ 1 << chance.randrange(8)]), 1)


def _set(content: bytes, chance: Random) -> bytes:
    return _overwrite(content, chance, lambda _: bytes([chance.randrange(256)]), 1)


def _integer(content: bytes, chance: Random) -> bytes:
    size = chance.choice((1, 2, 4, 8))
    value = chance.choice(_EXTREMES) & (1 << 8 * size) - 1
    order = chance.choice(("little", "big"))
    return _overwrite(
        content, chance, lambda _: value.to_bytes(size, "little" if order == "little" else "big"), size
    )


def _nudge(content: bytes, chance: Random) -> bytes:
    step = chance.choice((-4, -1, 1, 4, 32))
    return _overwrite(content, chance, lambda old: bytes([(old[0] + step) % 256]), 1)


def _truncate(content: bytes, chance: Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _delete(content: bytes, chance: Random) -> bytes:
    start, stop = _slice(content, chance)
    return content[:start] + content[stop:]


def _insert(content: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(content) + 1)
    new = chance.choice(
        (
            chance.randbytes(chance.randrange(1, 40)),
            bytes(chance.randrange(1, 5000)),
            chance.choice(_ODD_TEXTS),
        )
    )
    return content[:place] + new + content[place:]


def _copy(content: bytes, chance: Random) -> bytes:
    """A piece of the file over, or before, another place of it."""
    start, stop = _slice(content, chance)
    place = chance.randrange(len(content) + 1)
    behind = place + (stop - start) * chance.randrange(2)
    return content[:place] + content[start:stop] + content[behind:]


def _zero(content: bytes, chance: Random) -> bytes:
    start, stop = _slice(content, chance)
    return content[:start] + bytes(stop - start) + content[stop:]


_BYTE_CHANGES = (_flip, _flip, _set, _integer, _integer, _nudge, _truncate, _delete, _insert, _copy, _zero)


def _overwrite(content: bytes, chance: Random, new: Callable[[bytes], bytes], size: int) -> bytes:
    if len(content) < size:
        return content
    # Lengths and offsets stand in headers more often than elsewhere.
    limit = min(len(content), 200) if chance.randrange(3) == 0 else len(content)
    place = chance.randrange(max(limit - size + 1, 1))
    return content[:place] + new(content[place : place + size]) + content[place + size :]


def _slice(content: bytes, chance: Random) -> tuple[int, int]:
    start = chance.randrange(len(content) + 1)
    return start, min(start + chance.choice((1, 2, 4, 8, 64, 1000, len(content))), len(content))


def damage_json(content: bytes, chance: Random) -> bytes:
    """One value of a JSON document replaced, removed, doubled or given another name; the rest stays well formed."""
    try:
        document = json.loads(content)
    except ValueError:  # another kind of file of the same seed
        return damage(content, chance)
    holder: dict[str, Any] = {"": document}
    places = list(_places(holder))
    parent, key = chance.choice(places)
    change = chance.randrange(4)
    if change == 0 and parent is not holder:
        del parent[key]
    elif change == 1 and isinstance(parent, list):
        parent.insert(int(key), parent[key])
    elif change == 2 and isinstance(parent, dict) and parent is not holder:
        parent[chance.choice(("", "x", str(key) + "_", "__class__"))] = parent.pop(key)
    else:
        other, other_key = chance.choice(places)
        parent[key] = chance.choice((*_ODD_VALUES, json.loads(json.dumps(other[other_key]))))
    return json.dumps(holder[""]).encode()


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found.append((node, key))
        found += _places(value)
    return found


def damage_safetensors(content: bytes, chance: Random) -> bytes:
    """The header of a safetensors file changed as JSON, its length put right."""
    [length] = struct.unpack_from("<Q", content)
    try:
        document = json.loads(content[8 : 8 + length])
    except ValueError:
        return damage(content, chance)
    if chance.randrange(2):
        header = damage_json(content[8 : 8 + length], chance)
    else:
        metadata = document.get("__metadata__", {})
        if metadata:
            key = chance.choice(sorted(metadata))
            metadata[key] = damage_json(metadata[key].encode(), chance).decode(errors="replace")
        header = json.dumps(document).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def in_archive(inner: Mutator) -> Mutator:
    """One member of a zip changed by another mutator, sizes and checksums put right: damage the zip does not tell."""

    def mutate(content: bytes, chance: Random) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [(info.filename, archive.read(info)) for info in archive.infolist()]
        except (zipfile.BadZipFile, ValueError, OSError):
            return damage(content, chance)
        chosen = chance.randrange(len(members))
        deflated = chance.randrange(8) == 0
        changed = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
        with zipfile.ZipFile(changed, "w", method) as archive:
            for number, (name, data) in enumerate(members):
                archive.writestr(
                    zipfile.ZipInfo(name), inner(data, chance) if number == chosen else data, method
                )
        return changed.getvalue()

    return mutate


def damage_pickle(content: bytes, chance: Random) -> bytes:
    """A pickle's instructions reordered, doubled, dropped, or their lengths and numbers set to extremes."""
    try:
        starts = [position for _, _, position in pickletools.genops(content) if position is not None]
    except (ValueError, IndexError, KeyError, AttributeError, EOFError):
        return damage(content, chance)
    stops = [*starts[1:], len(content)]
    pieces = [content[start:stop] for start, stop in zip(starts, stops, strict=True)]
    for _ in range(chance.choice((1, 1, 2, 3))):
        place = chance.randrange(len(pieces))
        change = chance.randrange(5)
        if change == 0:
            del pieces[place]
        elif change == 1:
            pieces.insert(place, pieces[chance.randrange(len(pieces))])
        elif change == 2:
            other = chance.randrange(len(pieces))
            pieces[place], pieces[other] = pieces[other], pieces[place]
        elif change == 3:
            pieces.insert(place, chance.choice(_INSTRUCTIONS))
        else:
            pieces[place] = pieces[place][:1] + damage(pieces[place][1:9], chance) + pieces[place][9:]
        if not pieces:
            break
    return b"".join(pieces)


_INSTRUCTIONS = (
    b"R", b"b", b"\x81", b"o", b"0", b"1", b"2", b"(", b"t", b"]", b"}", b"a", b"e", b"s", b"u", b"N", b"\x94", b".",
    b"cos\nsystem\n", b"cbuiltins\neval\n", b"i__builtin__\nbytes\n", b"Q", b"\x82\x01", b"h\0", b"j\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x7f", b"p99999999\n", b"B\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x7f",
    b"\x96" + (1 << 40).to_bytes(8, "little"), b"\x95" + (1 << 50).to_bytes(8, "little"), b"\x8b\xff\xff\xff\x7f",
)  # fmt: skip
