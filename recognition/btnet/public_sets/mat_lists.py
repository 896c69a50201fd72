"""Lists of image names and identities in MATLAB files, as QMUL-SurvFace and TinyFace have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.public_sets.mat_file import read_mat

__all__ = ["read_names", "read_names_and_ids"]


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
    content = _load(path)
    names = [_text(path, names_key, cell) for cell in _entry(path, content, names_key).ravel()]
    numbers = _entry(path, content, ids_key).ravel()
    if numbers.dtype.kind not in "iuf" or not _are_whole(numbers):
        raise ValueError(
            f"{path}: {ids_key} is {numbers.dtype}, expected whole numbers from 0 on, of at most 53 bits"
        )
    if len(names) != len(numbers):
        raise ValueError(
            f"{path}: {len(names)} names in {names_key} and {len(numbers)} identities in {ids_key}, "
            "expected one for each; copy the file again"
        )
    return names, numbers.astype(np.int64)


def read_names(path: Path, key: str) -> NDArray[np.str_]:
    """Read a cell array of names, such as the [P, 2] of a list of pairs.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, lacks the key, or holds something else.
    """
    cells = _entry(path, _load(path), key)
    return np.array([_text(path, key, cell) for cell in cells.ravel()], dtype=np.str_).reshape(cells.shape)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it belongs to the data set's protocol")
    try:
        return read_mat(path)
    except ValueError as error:
        raise ValueError(f"{path}: not a MATLAB file of version 5 to 7 ({str(error)[:200]})") from error


def _are_whole(numbers: NDArray[Any]) -> bool:
    values = numbers.astype(np.float64)
    return bool(((values >= 0) & (values < 1 << 53)).all()) and np.array_equal(values, np.floor(values))


def _entry(path: Path, content: dict[str, Any], key: str) -> NDArray[Any]:
    if key not in content:
        known = ", ".join(content)[:200] or "nothing"
        raise ValueError(f"{path}: holds {known}, expected {key}")
    value = content[key]
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{path}: {key} is neither a cell array nor numbers")
    return value


def _text(path: Path, key: str, cell: Any) -> str:
    # A name may stand in a cell of its own.
    while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
        cell = cell.item()
    if not isinstance(cell, str) or not cell.strip():
        raise ValueError(f"{path}: {key} holds a cell of {type(cell).__name__}, expected a name")
    return cell.strip()
