"""The `.idx` beside a `.rec`: which key starts at which byte, for 17 million records as for 17."""

import logging
import mmap
import os
import re
import warnings
from array import array
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.record_parts import HEADER, MAGIC, find_parts
from btnet.files.atomic import replacing

__all__ = ["RecordIndex", "index_path", "rebuild_index", "write_index"]

_logger = logging.getLogger(__name__)

_LINE = re.compile(rb"\d{1,18}\t\d{1,18}\r?\n?")


def index_path(rec_path: Path) -> Path:
    """The `.idx` that belongs to a `.rec`: the same name with another ending."""
    return rec_path.with_suffix(".idx")


class RecordIndex:
    """Keys of a record file in ascending order, each with the byte offset of its first part.

    8 bytes a record where the keys run without a gap, as they do in face data sets, and 16 bytes otherwise.
    """

    def __init__(self, keys: NDArray[np.int64], offsets: NDArray[np.int64], *, where: str) -> None:
        """Take keys and offsets [N] in any order; ValueError names `where` if a key stands twice."""
        if not bool((keys[1:] > keys[:-1]).all()):
            order = np.argsort(keys, kind="stable")
            keys, offsets = keys[order], offsets[order]
            twice = np.flatnonzero(keys[1:] == keys[:-1])
            if len(twice):
                raise ValueError(
                    f"{where}: key {keys[twice[0]]} stands {np.count_nonzero(keys == keys[twice[0]])} times, "
                    "expected once; delete the file and rebuild it with tools/make_rec.py --index"
                )
        self._where = where
        self._offsets = offsets
        self._first = int(keys[0]) if len(keys) else 0
        gapless = len(keys) == 0 or int(keys[-1]) - self._first + 1 == len(keys)
        self._keys = None if gapless else keys

    @classmethod
    def load(cls, rec_path: Path, rec_size: int) -> "RecordIndex":
        """Read the `.idx` of a `.rec` of `rec_size` bytes.

        Raises:
            FileNotFoundError: if there is no `.idx` beside it.
            ValueError: for a line that is not `key<TAB>offset`, a key that stands twice, or an offset
                outside the record file.
        """
        path = index_path(rec_path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: not found; {rec_path.name} needs its index: copy it from where the .rec came from, "
                f"or rebuild it with `tools/make_rec.py --index {rec_path}`"
            )
        keys, offsets = _parse(path)
        astray = np.flatnonzero(offsets % 4)
        if len(astray):
            raise ValueError(
                f"{path}: key {keys[astray[0]]} starts at offset {offsets[astray[0]]}, records start at "
                "multiples of 4; copy the file again, or rebuild it with tools/make_rec.py --index"
            )
        outside = np.flatnonzero(offsets >= rec_size)
        if len(outside):
            raise ValueError(
                f"{path}: key {keys[outside[0]]} starts at offset {offsets[outside[0]]}, but {rec_path.name} "
                f"ends at {rec_size} ({len(outside)} such keys); one of the two was cut short or belongs to "
                "another set: copy both again"
            )
        return cls(keys, offsets, where=str(path))

    def __len__(self) -> int:
        return len(self._offsets)

    @property
    def keys(self) -> NDArray[np.int64]:
        """All keys, ascending, [N]."""
        if self._keys is None:
            return np.arange(self._first, self._first + len(self), dtype=np.int64)
        return self._keys

    def offsets_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Byte offsets of many records at once; ValueError names the first key that is not in the index."""
        if self._keys is None:
            positions = keys - self._first
            found = (positions >= 0) & (positions < len(self))
        else:
            positions = np.minimum(np.searchsorted(self._keys, keys), len(self) - 1)
            found = self._keys[positions] == keys
        if not bool(found.all()):
            raise self._missing(int(keys[np.flatnonzero(~found)[0]]))
        return self._offsets[positions]

    def offset_of(self, key: int) -> int:
        """Byte offset of one record; ValueError if there is none with this key."""
        position = key - self._first if self._keys is None else int(np.searchsorted(self._keys, key))
        if not 0 <= position < len(self) or (self._keys is not None and self._keys[position] != key):
            raise self._missing(key)
        return int(self._offsets[position])

    def _missing(self, key: int) -> ValueError:
        if not len(self):
            return ValueError(f"{self._where}: no record {key}; the index is empty")
        keys = self.keys
        return ValueError(
            f"{self._where}: no record {key}; its {len(self)} keys lie between {keys[0]} and {keys[-1]}"
        )


def write_index(rec_path: Path, keys: NDArray[np.int64], offsets: NDArray[np.int64]) -> None:
    """Write keys and offsets [N] as the `.idx` of a `.rec`, as MXNet does, in the order given, whole or not at all."""
    with replacing(index_path(rec_path)) as temporary, open(temporary, "wb") as file:
        for start in range(0, len(keys), 1 << 20):
            part = slice(start, start + (1 << 20))
            pairs = zip(keys[part].tolist(), offsets[part].tolist(), strict=True)
            file.write(b"".join(b"%d\t%d\n" % pair for pair in pairs))


def rebuild_index(path: str | os.PathLike[str]) -> int:
    """Scan a `.rec` and write the `.idx` that is missing beside it.

    Keys are the ids in the record headers, which face data sets set to the key; where these are not distinct
    (some tools leave them 0), the records are counted from 0 in file order, as MXNet's `rec2idx` does. Returns the
    number of records.

    Raises:
        ValueError: if the file is damaged, naming the offset. An index that exists is then left alone.
    """
    path = Path(path)
    ids, offsets = array("Q"), array("q")
    size = path.stat().st_size
    offset = 0
    with open(path, "rb") as file:
        source = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        while source is not None and offset < size:
            parts, end = find_parts(source, offset, size, f"{path}: record number {len(offsets)}")
            # Enough of each part to hold the header, which may itself be cut by a magic inside it.
            pieces = [source[first : min(last, first + HEADER.size)] for first, last in parts]
            start = MAGIC.join(pieces)[: HEADER.size]
            ids.append(HEADER.unpack(start)[2] if len(start) == HEADER.size else 0)
            offsets.append(offset)
            offset = end
        if source is not None:
            source.close()
    keys = np.array(ids, np.uint64)
    # Headerless records give random numbers here: far too large for keys.
    are_keys = len(np.unique(keys)) == len(keys) and bool((keys < 1 << 32).all())
    if not are_keys:
        _logger.warning("%s: header ids are not distinct; keys are counted from 0 in file order", path)
        keys = np.arange(len(keys), dtype=np.uint64)
    write_index(path, keys.astype(np.int64), np.array(offsets, np.int64))
    return len(keys)


def _parse(path: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and offsets of an index file, in file order."""
    if not path.stat().st_size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of fractions, which numpy would round
            table = np.loadtxt(path, np.int64, comments=None, delimiter="\t", ndmin=2, encoding="latin-1")
    except (ValueError, OverflowError, Warning) as error:
        raise _malformed(path) from error
    if table.shape[1] != 2 or int(table.min()) < 0:
        raise _malformed(path)
    return table[:, 0].copy(), table[:, 1].copy()


def _malformed(path: Path) -> ValueError:
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not _LINE.fullmatch(line):
                shown = line.rstrip(b"\r\n")[:60]
                return ValueError(
                    f"{path}:{number}: {shown!r}, expected `key<TAB>offset`; delete the file and "
                    "rebuild it with tools/make_rec.py --index"
                )
    return ValueError(f"{path}: not an index; delete it and rebuild it with tools/make_rec.py --index")
