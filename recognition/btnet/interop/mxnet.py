"""The calls of MXNet that arcface_torch makes, answered by our readers: `from btnet.interop import mxnet as mx`.

MXNet is archived and imports on NumPy 1.23.5 only. Names, arguments and results are MXNet's; all else is missing.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.data.record_index import index_path
from btnet.data.recordio import Header, RecordReader, RecordWriter, pack_record, unpack_record
from btnet.images.codec import decode_image

__all__ = ["gluon", "image", "nd", "ndarray", "recordio"]


class _Array(NamedTuple):
    """What arcface_torch asks of an NDArray."""

    values: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    def asnumpy(self) -> NDArray[Any]:
        return self.values


class _IndexedRecords:
    def __init__(self, idx_path: str, uri: str, flag: str) -> None:
        if flag not in ("r", "w"):
            raise ValueError(f"{uri}: opened with {flag!r}, expected 'r' or 'w'")
        if Path(idx_path) != index_path(Path(uri)):
            raise ValueError(f"{idx_path}: expected the index beside {uri}; rename it")
        kind: Any = RecordReader if flag == "r" else RecordWriter
        self._file = kind(uri)
        self.keys = [] if flag == "w" else self._file.keys.tolist()
        self.close = self._file.close

    def read_idx(self, idx: int) -> bytes:
        record: bytes = self._file.read_raw(int(idx))
        return record

    def write_idx(self, idx: int, buf: bytes) -> None:
        self._file.write_raw(idx, buf)


def _unpack(s: bytes) -> tuple[Header, bytes]:
    return unpack_record(s, "record")


def _imdecode(buf: Any) -> _Array:
    return _Array(decode_image(np.frombuffer(buf, np.uint8), "image"))


def _resize_short(src: _Array, size: int) -> _Array:
    height, width = src.shape[:2]
    short = min(height, width)
    shape = (size * width // short, size * height // short)  # MXNet's default is OpenCV's bicubic
    return _Array(np.asarray(cv2.resize(src.values, shape, interpolation=cv2.INTER_CUBIC)))


def _transpose(data: _Array, axes: tuple[int, ...]) -> _Array:
    return _Array(data.values.transpose(axes))


def _flip(data: _Array, axis: int) -> _Array:
    return _Array(np.flip(data.values, axis).copy())  # torch takes no negative strides


recordio = SimpleNamespace(
    MXIndexedRecordIO=_IndexedRecords, unpack=_unpack, pack=pack_record, IRHeader=Header
)
image = SimpleNamespace(imdecode=_imdecode, resize_short=_resize_short)
nd = ndarray = SimpleNamespace(transpose=_transpose, flip=_flip, NDArray=_Array)
gluon = SimpleNamespace(data=SimpleNamespace(Dataset=object))
