"""Lists of image names and identities in MATLAB files (version 5 to 7), as QMUL-SurvFace and TinyFace have them.

Only cell arrays, texts and numbers are read, in no more memory than the file holds, decompressed up to a bound.
`scipy.io.loadmat` reads far more, but one damaged byte can crash the process or fill the memory.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_names", "read_names_and_ids"]

_HEADER: Final = 128
_MOST_UNPACKED: Final = 1 << 28
_DEEPEST: Final = 8  # cells in cells
_MATRIX, _COMPRESSED, _UTF8, _UTF16 = 14, 15, 16, 17
_CELL, _CHAR = 1, 4
_NUMERIC: Final = range(6, 16)  # classes double, single, int8 .. uint64
_TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


def read_names_and_ids(path: Path, names_key: str, ids_key: str) -> tuple[list[str], NDArray[np.int64]]:
    """Read as many names as identities.

    Args:
        path: `.mat` file of version 5 to 7.
        names_key: cell array of names, [N, 1].
        ids_key: whole numbers from 0 on, [N, 1].

    Returns:
        Names, and int64 [N].

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, lacks a key, or the counts differ.
    """
    names, numbers = _read(path, names_key, ids_key)
    found, values = _texts(path, names_key, names), numbers.ravel()
    if values.dtype.kind not in "iuf" or not _are_whole(values.astype(np.float64)):
        raise ValueError(
            f"{path}: {ids_key} is {values.dtype}, expected whole numbers from 0 on, of at most 53 bits"
        )
    if len(found) != len(values):
        raise ValueError(
            f"{path}: {len(found)} names in {names_key} and {len(values)} identities in {ids_key}, "
            "expected one for each; copy the file again"
        )
    return found, values.astype(np.int64)


def read_names(path: Path, key: str) -> NDArray[np.str_]:
    """Read a cell array of names, such as the [P, 2] of a list of pairs; errors as `read_names_and_ids`."""
    [cells] = _read(path, key)
    return np.array(_texts(path, key, cells), dtype=np.str_).reshape(cells.shape)


def _are_whole(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values < 1 << 53)).all()) and np.array_equal(values, np.floor(values))


def _texts(path: Path, key: str, cells: NDArray[Any]) -> list[str]:
    found = []
    for cell in cells.ravel():
        # A name may stand in a cell of its own.
        while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
            cell = cell.item()
        if not isinstance(cell, str) or not cell.strip():
            raise ValueError(f"{path}: {key} holds a cell of {type(cell).__name__}, expected a name")
        found.append(cell.strip())
    return found


def _read(path: Path, *keys: str) -> list[NDArray[Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it belongs to the data set's protocol")
    try:
        content = _variables(memoryview(path.read_bytes()))
    except (ValueError, zlib.error, IndexError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a MATLAB file of version 5 to 7 ({str(error)[:200]})") from error
    for key in keys:
        if key not in content:
            raise ValueError(f"{path}: holds {', '.join(content)[:200] or 'nothing'}, expected {key}")
        if not isinstance(content[key], np.ndarray):
            raise ValueError(f"{path}: {key} is neither a cell array nor numbers")
    return [content[key] for key in keys]


def _variables(content: memoryview) -> dict[str, Any]:
    """Variables by name: cell arrays as arrays of objects, texts as str, numbers as arrays; None for other classes."""
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]), "")
    if not order or struct.unpack_from(f"{order}H", content, 124)[0] != 0x0100:
        raise ValueError("it does not start as one")
    reader = _Reader(order)
    return dict(reader.matrix(reader.unpack(element)) for element in reader.elements(content[_HEADER:]))


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
        """The content of a compressed element; another one as it is."""
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
        """Name and value."""
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
        values: NDArray[Any]
        if kind == _CELL:
            values = np.empty(len(rest), object)
            for i, cell in enumerate(rest):
                values[i] = self.matrix(cell, depth + 1)[1]
        elif kind == _CHAR:
            return title, self.text(rest[0], shape)
        elif kind in _NUMERIC:
            values = self.numbers(rest[0])
        else:
            return title, None
        if len(values) != math.prod(shape):
            raise ValueError(f"{math.prod(shape)} values are announced, {len(values)} follow")
        return title, values.reshape(shape, order="F")

    def text(self, element: _Element, shape: tuple[int, ...]) -> str:
        if len(shape) != 2 or shape[0] > 1:
            raise ValueError(f"a text of shape {list(shape)}, expected one line")
        if element.kind not in (_UTF8, _UTF16, 2, 4):
            raise ValueError(f"a text stored as kind {element.kind}")
        wide = "utf-16-le" if self.order == "<" else "utf-16-be"
        return bytes(element.data).decode("utf-8" if element.kind in (_UTF8, 2) else wide)

    def numbers(self, element: _Element) -> NDArray[Any]:
        if element.kind not in _TYPES:
            raise ValueError(f"numbers stored as kind {element.kind}")
        return np.frombuffer(element.data, self.order + _TYPES[element.kind])
