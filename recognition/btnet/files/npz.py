"""Arrays of an .npz, read in no more memory than the file is large: no pickle, no decompression, no forged shapes."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_npz"]

_FAILURES = (
    zipfile.BadZipFile, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, TypeError, ValueError,
    TokenError,
)  # fmt: skip


def read_npz(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Read named arrays that `np.savez` wrote; they are read-only.

    Raises:
        ValueError: saying what is wrong, without the path: it is no such archive, lacks an array, is compressed, does
            not match its checksums, or an array is of Python objects or another size than it announces.
    """
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            size = path.stat().st_size
            for name in names:
                member = archive.getinfo(f"{name}.npy")
                if (
                    member.compress_type != zipfile.ZIP_STORED
                    or max(member.file_size, member.compress_size) > size
                ):
                    raise ValueError(
                        f"{name} is compressed or larger than the file, np.savez stores it as it is"
                    )
                arrays[name] = _array(name, archive.read(member))
    except _FAILURES as error:
        raise ValueError(str(error)[:200]) from error
    return arrays


def _array(name: str, content: bytes) -> NDArray[Any]:
    stream = io.BytesIO(content)
    is_first = np.lib.format.read_magic(stream) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    num_bytes = len(content) - stream.tell()
    fits = min(shape, default=0) >= 0 and math.prod(shape) * dtype.itemsize == num_bytes
    if dtype.hasobject or is_fortran or not fits:
        raise ValueError(f"{name} announces {dtype} {list(shape)}, and {num_bytes} bytes follow")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)
