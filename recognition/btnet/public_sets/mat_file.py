"""MATLAB files of version 5 to 7, as far as lists need them: cell arrays, texts and numbers.

scipy reads far more, and a damaged byte ends the process or fills the memory. Here nothing is larger than what the file
holds, decompressed up to a bound.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_mat"]

_HEADER: Final = 128
_MOST_UNPACKED: Final = 1 << 28
_DEEPEST: Final = 8  # cells in cells
_MATRIX, _COMPRESSED, _UTF8, _UTF16 = 14, 15, 16, 17
_CELL, _CHAR = 1, 4
_NUMERIC: Final = range(6, 16)  # classes double, single, int8 .. uint64
_TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


class _Element(NamedTuple):
    kind: int
    data: memoryview


class _Reader:
    def __init__(self, order: str) -> None:
        self.order = order
        self.num_left = _MOST_UNPACKED

    def elements(self, data: memoryview) -> list[_Element]:
        """The elements that stand one after the other."""
        found, place = [], 0
        while place + 8 <= len(data):
            kind, num_bytes = struct.unpack_from(f"{self.order}II", data, place)
            start = place + 8
            if kind >> 16:  # a few bytes, in the tag itself
                kind, num_bytes, start = kind & 0xFFFF, kind >> 16, place + 4
            stop = start + num_bytes
            if stop > len(data) or (start == place + 4 and num_bytes > 4):
                raise ValueError(f"an element of {num_bytes} bytes reaches beyond its end")
            found.append(_Element(kind, data[start:stop]))
            place = place + 8 if start == place + 4 else stop + (0 if kind == _COMPRESSED else -num_bytes % 8)
        return found

    def unpack(self, element: _Element) -> _Element:
        """What a compressed element holds; another one as it is."""
        if element.kind != _COMPRESSED:
            return element
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(bytes(element.data), self.num_left)
        if not unpacker.eof:
            raise ValueError("compressed data that is cut short, or unpacks to too much")
        self.num_left -= len(content)
        [inner] = self.elements(memoryview(content))
        return inner

    def matrix(self, element: _Element, depth: int = 0) -> tuple[str, Any]:
        """Name and value: a cell array as array of objects, a text, numbers; None for a class that no list has."""
        if element.kind != _MATRIX or depth > _DEEPEST:
            raise ValueError(f"an element of kind {element.kind} where a matrix is due")
        if not element.data:
            return "", np.empty((0, 0))
        flags, dimensions, name, *rest = self.elements(element.data)
        kind = int(self.numbers(flags)[0]) & 0xFF
        shape = tuple(int(size) for size in self.numbers(dimensions))
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"a matrix of shape {list(shape)}")
        title = bytes(name.data).decode("utf-8")
        count = math.prod(shape)
        if kind == _CELL:
            if count != len(rest):
                raise ValueError(f"{count} cells are announced, {len(rest)} follow")
            cells = np.empty(count, object)
            for i, cell in enumerate(rest):
                cells[i] = self.matrix(cell, depth + 1)[1]
            return title, cells.reshape(shape, order="F")
        if kind == _CHAR:
            return title, self.text(rest[0], shape)
        if kind not in _NUMERIC:
            return title, None
        values = self.numbers(rest[0])
        if len(values) != count:
            raise ValueError(f"{count} numbers are announced, {len(values)} follow")
        return title, values.reshape(shape, order="F")

    def text(self, element: _Element, shape: tuple[int, ...]) -> str:
        if len(shape) != 2 or shape[0] > 1:
            raise ValueError(f"a text of shape {list(shape)}, expected one line")
        if element.kind in (_UTF8, _UTF16, 2, 4):
            wide = "utf-16-le" if self.order == "<" else "utf-16-be"
            return bytes(element.data).decode("utf-8" if element.kind in (_UTF8, 2) else wide)
        raise ValueError(f"a text stored as kind {element.kind}")

    def numbers(self, element: _Element) -> NDArray[Any]:
        if element.kind not in _TYPES:
            raise ValueError(f"numbers stored as kind {element.kind}")
        return np.frombuffer(element.data, self.order + _TYPES[element.kind])


def read_mat(path: Path) -> dict[str, Any]:
    """Variables by name.

    Args:
        path: a file of version 5 to 7 (7.3 is HDF5, another format).

    Returns:
        Cell arrays as arrays of objects, texts as str, numbers as arrays, all of MATLAB's shape; None for others.

    Raises:
        ValueError: saying what is wrong, without the path.
    """
    content = memoryview(path.read_bytes())
    orders = {b"IM": "<", b"MI": ">"}
    order = orders.get(bytes(content[126:128]), "")
    if not order or struct.unpack_from(f"{order}H", content, 124)[0] != 0x0100:
        raise ValueError("it does not start as one")
    reader = _Reader(order)
    try:
        found = [reader.matrix(reader.unpack(element)) for element in reader.elements(content[_HEADER:])]
    except (zlib.error, IndexError, TypeError, RecursionError) as error:
        raise ValueError(str(error)[:200]) from error
    return dict(found)
