"""Faces: where they come from, how they are stored, and how they are resized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from btnet.data.bin_sets import read_bin, write_bin
from btnet.data.faces import open_faces
from btnet.data.recordio import RecordReader, RecordWriter
from btnet.images.resize import INTERPOLATIONS, resize

if TYPE_CHECKING:
    from btnet.synthetic.faces import SyntheticFaces

__all__ = [
    "INTERPOLATIONS",
    "RecordReader",
    "RecordWriter",
    "SyntheticFaces",
    "open_faces",
    "read_bin",
    "resize",
    "write_bin",
]


def __getattr__(name: str) -> Any:
    # The renderer prepares its tables on import; who reads records does not need them.
    if name == "SyntheticFaces":
        from btnet.synthetic.faces import SyntheticFaces

        return SyntheticFaces
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
