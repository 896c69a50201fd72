"""RecordIO, MXNet's container of `train.rec` + `train.idx`: a reader and a writer without MXNet.

`read` and `write` handle image records, which start with a `Header`; `read_raw` and `write_raw` handle any.
"""

import mmap
import os
from array import array
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.data.record_index import RecordIndex, index_path, write_index
from btnet.data.record_parts import HEADER, MAGIC, MAX_RECORD_BYTES, find_parts, frame_record
from btnet.files.atomic import temporary_name

__all__ = ["Header", "RecordReader", "RecordWriter", "pack_record", "unpack_record"]


class Header(NamedTuple):
    """What stands before the payload of an image record (MXNet's IRHeader)."""

    flag: int  # number of labels, 0 for the scalar; RecordWriter derives it from the label, as MXNet does
    label: float | NDArray[np.float32]
    id: int = 0
    id2: int = 0


def unpack_record(record: bytes, where: str) -> tuple[Header, bytes]:
    """The header of an image record (label: a float if flag is 0, else float32 [flag]) and the payload behind it.

    Raises:
        ValueError: naming `where`, if the record is shorter than its header says.
    """
    if len(record) < HEADER.size:
        raise ValueError(
            f"{where}: {len(record)} bytes, expected a header of {HEADER.size}; "
            "records written without one are read with read_raw"
        )
    flag, label, id_, id2 = HEADER.unpack_from(record)
    if flag == 0:
        return Header(flag, label, id_, id2), record[HEADER.size :]
    end = HEADER.size + 4 * flag
    if len(record) < end:
        raise ValueError(
            f"{where}: the header announces {flag} labels ({end} bytes), the record has "
            f"{len(record)} bytes; the file is damaged or not made of image records: copy it again"
        )
    labels = np.frombuffer(record, "<f4", count=flag, offset=HEADER.size).astype(np.float32)
    return Header(flag, labels, id_, id2), record[end:]


def pack_record(header: Header, payload: bytes) -> bytes:
    """An image record, as `RecordWriter.write` stores it."""
    if isinstance(header.label, (int, float, np.number)):
        return HEADER.pack(0, header.label, header.id, header.id2) + payload
    labels = np.asarray(header.label, "<f4")
    return HEADER.pack(labels.size, 0.0, header.id, header.id2) + labels.tobytes() + payload


class RecordReader:
    """Random access to a `.rec` through its `.idx`.

    The file is memory-mapped and reading moves no file position, so threads and forked workers may share
    a reader; a pickled reader carries its path and opens the files again where it is unpickled.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open `path` (a `.rec`) and the `.idx` beside it.

        Raises:
            FileNotFoundError: if either file is missing.
            ValueError: if the index is malformed or points outside the record file.
        """
        self.path = Path(path)
        with open(self.path, "rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            self._index = RecordIndex.load(self.path, self._size)
            # An empty file cannot be mapped; an index that passed the check then has no key to read.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else None

    @property
    def keys(self) -> NDArray[np.int64]:
        """All keys, ascending, [N]."""
        return self._index.keys

    def __len__(self) -> int:
        return len(self._index)

    def offsets_of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Byte offsets of many records, [N]; ValueError names a key that does not exist."""
        return self._index.offsets_of(keys)

    def read(self, key: int) -> tuple[Header, bytes]:
        """Read one image record.

        Returns:
            The header (label: a float if flag is 0, else float32 [flag]) and the payload behind it.

        Raises:
            ValueError: if there is no such key or the record is damaged.
        """
        offset = self._index.offset_of(key)
        return unpack_record(self._read_at(offset, key), f"{self.path}: record {key} at offset {offset}")

    def read_raw(self, key: int) -> bytes:
        """Read one record as it is, its header included if it has one."""
        return self._read_at(self._index.offset_of(key), key)

    def _read_at(self, offset: int, key: int) -> bytes:
        source = self._source()
        parts, _ = find_parts(source, offset, self._size, f"{self.path}: record {key}")
        return MAGIC.join([source[start:end] for start, end in parts])

    def read_first_labels(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """Labels of many image records (the scalar, or the first of the vector), float32 [N]; errors as `read`."""
        labels = np.empty(len(keys), np.float32)
        for start in range(0, len(keys), 1 << 20):  # bounds the temporaries
            part = slice(start, start + (1 << 20))
            labels[part] = self._read_first_labels(keys[part])
        return labels

    def _read_first_labels(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        offsets = self._index.offsets_of(keys)
        words = np.frombuffer(self._source(), "<u4", count=self._size // 4)  # parts are aligned to 4 bytes
        labels = np.zeros(len(keys), np.float32)
        # word 0: magic; 1: cflag and length; 2: flag; 3: scalar label; 4..7: ids; 8: first label of a vector
        first = offsets // 4
        simple = (offsets % 4 == 0) & (first + 8 < len(words))
        rows = np.flatnonzero(simple)
        first = first[rows]
        length, flag = words[first + 1], words[first + 2].astype(np.int64)
        is_whole = (words[first] == np.frombuffer(MAGIC, "<u4")) & (length <= MAX_RECORD_BYTES)  # cflag 0
        labels[rows] = words[np.where(flag == 0, first + 3, first + 8)].view("<f4")
        simple[rows] = is_whole & (length >= HEADER.size + 4 * flag)
        # Cut, damaged and tiny records, and the last one of a file, are few: read them one by one.
        for row in np.flatnonzero(~simple).tolist():
            label = self.read(int(keys[row]))[0].label
            labels[row] = label if isinstance(label, float) else label[0]
        return labels

    def _source(self) -> mmap.mmap:
        if self._map is None or self._map.closed:
            raise ValueError(f"{self.path}: this reader is closed; open a new RecordReader")
        return self._map

    def close(self) -> None:
        """Unmap the file; reading afterwards is an error. Closing twice is not."""
        if self._map is not None:
            self._map.close()

    def __enter__(self) -> "RecordReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type["RecordReader"], tuple[Path]]:
        return type(self), (self.path,)


class RecordWriter:
    """Writes a `.rec` and its `.idx`, byte for byte as MXNet's MXIndexedRecordIO does.

    A context manager: both files appear under their names when the block ends, neither if it raises.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Start writing `path` (ending in `.rec`) under a temporary name."""
        self.path = Path(path)
        if self.path.suffix != ".rec":
            raise ValueError(f"{self.path}: ends in {self.path.suffix!r}, expected '.rec'; rename the output")
        self._temporary = temporary_name(self.path)
        self._file = open(self._temporary, "wb")  # noqa: SIM115 - open until close() or discard()
        self._offset = 0
        self._keys = array("q")
        self._offsets = array("q")

    def write(self, key: int, header: Header, payload: bytes) -> None:
        """Append an image record under a key, each once; errors as `write_raw`.

        `header.flag` is ignored: a number as label is stored as scalar, anything else as vector of float32.
        """
        self.write_raw(key, pack_record(header, payload))

    def write_raw(self, key: int, record: bytes) -> None:
        """Append a record as it is, without a header.

        Raises:
            ValueError: if the key is negative or the record too long for the format.
        """
        if key < 0:
            raise ValueError(f"{self.path}: key {key}, expected 0 or more")
        if len(record) > MAX_RECORD_BYTES:
            raise ValueError(
                f"{self.path}: record {key} has {len(record)} bytes, RecordIO holds at most "
                f"{MAX_RECORD_BYTES}; store a smaller image"
            )
        data = frame_record(record)
        self._file.write(data)
        self._keys.append(key)
        self._offsets.append(self._offset)
        self._offset += len(data)

    def close(self) -> None:
        """Write the index and give both files their names.

        Raises:
            ValueError: if a key was written twice; nothing is left then.
        """
        if self._file.closed:
            return
        try:
            self._file.close()
            keys, offsets = np.array(self._keys, np.int64), np.array(self._offsets, np.int64)
            RecordIndex(keys, offsets, where=str(self.path))  # refuses keys that stand twice
            # The old index goes first: after a crash in between, one is missing rather than wrong.
            index_path(self.path).unlink(missing_ok=True)
            os.replace(self._temporary, self.path)
            write_index(self.path, keys, offsets)
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what was written; a file of an earlier run stays as it was."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()
