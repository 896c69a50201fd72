"""Cosine scores in bounded memory: rows of unit length, blocks of probes against a gallery, listed pairs."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "finite_rows", "indexed_pair_scores", "score_blocks", "unit_normalise", "unit_rows"]

Array = npt.NDArray[Any]

# Scores held at a time: 2^24 are 64 MB of float32. A few temporaries of that size come on top.
_BLOCK_SCORES = 1 << 24
_PAIR_BLOCK_NUMBERS = 1 << 23


def unit_normalise(embeddings: Array) -> Array:
    """Embeddings of length 1, [N, D] in their own dtype: products are cosines. Zero stays zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.where(norms == 0, norms.dtype.type(1), norms))


def unit_rows(embeddings: Array, name: str, *, first_row: int = 0) -> Array:
    """`unit_normalise` for embeddings that come from outside: checked, of any dtype, a block of many.

    Args:
        embeddings: [N, D].
        name: what they are, for the message of an error ("gallery").
        first_row: number of the first row, where they are a block of more.

    Returns:
        A new array [N, D]: float64 if the embeddings are, else float32.

    Raises:
        ValueError: as `finite_rows`.
    """
    rows = finite_rows(embeddings, name, first_row=first_row)
    norms = _norms(rows)
    return np.asarray(rows / np.where(norms == 0, 1, norms)[:, None])


def finite_rows(embeddings: Array, name: str, *, first_row: int = 0) -> Array:
    """The embeddings as floating point, float64 if they are, else float32.

    Raises:
        ValueError: if they are not [N, D] with N, D >= 1, or one is NaN or infinite.
    """
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name}: embeddings have shape {list(rows.shape)}, expected [N, D] with N, D >= 1")
    rows = rows.astype(np.float64 if rows.dtype == np.float64 else np.float32, copy=False)
    broken = np.flatnonzero(~np.isfinite(_norms(rows)))
    if broken.size:
        raise ValueError(
            f"{name}: embeddings are NaN or infinite, the first in row {first_row + broken[0]} "
            f"({broken.size} of the {len(rows)} looked at); the network diverged or its input was broken, "
            "no score can be given"
        )
    return rows


def score_blocks(
    probes: Array, gallery: Array, *, names: tuple[str, str] = ("probes", "gallery")
) -> Iterator[tuple[slice, Array]]:
    """Cosine of every probe with every gallery row, a block of probes at a time.

    Args:
        probes: [P, D], of any length.
        gallery: [G, D], of any length.
        names: of both, for the message of an error.

    Yields:
        Rows of probes, and their scores [rows, G]; the caller may overwrite them.

    Raises:
        ValueError: as `unit_rows`; or if the two have different D.
    """
    if np.shape(probes)[1:] != np.shape(gallery)[1:]:
        raise ValueError(
            f"{names[0]} have shape {list(np.shape(probes))} and {names[1]} {list(np.shape(gallery))}; "
            "expected the same D: embeddings of one model"
        )
    columns = unit_rows(gallery, names[1]).T
    size = max(1, _BLOCK_SCORES // columns.shape[1])
    # At least one block, so that no probes at all are refused too.
    for start in range(0, max(1, len(probes)), size):
        rows = slice(start, min(start + size, len(probes)))
        yield rows, unit_rows(probes[rows], names[0]) @ columns


def indexed_pair_scores(embeddings: Array, first: Array, second: Array) -> Array:
    """Cosine of listed pairs, each side named by its row: millions of pairs of templates.

    Args:
        embeddings: [T, D], of any length.
        first: rows of the first sides, integers [P].
        second: rows of the second sides, integers [P].

    Returns:
        [P] in [-1, 1], float64 if the embeddings are, else float32. Beside them only a block of pairs and a
        normalised copy of the embeddings are held.

    Raises:
        ValueError: as `unit_rows`; or if the rows are not integers [P] inside [0, T).
    """
    rows = unit_rows(embeddings, "templates")
    left, right = np.asarray(first), np.asarray(second)
    if left.ndim != 1 or left.shape != right.shape:
        raise ValueError(
            f"pairs have shapes {list(left.shape)} and {list(right.shape)}, expected [P] and the same [P]"
        )
    for side in (left, right):
        if side.size and (side.dtype.kind not in "iu" or side.min() < 0 or side.max() >= len(rows)):
            raise ValueError(
                f"pairs name {side.dtype} rows {side.min()} to {side.max()} of {len(rows)} templates; expected "
                "integers from 0: look template ids up with Templates.rows"
            )
    scores = np.empty(len(left), dtype=rows.dtype)
    size = max(1, _PAIR_BLOCK_NUMBERS // rows.shape[1])
    for start in range(0, len(left), size):
        block = slice(start, start + size)
        np.einsum("nd,nd->n", rows[left[block]], rows[right[block]], out=scores[block])
    return scores


def _norms(rows: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("nd,nd->n", rows, rows)))
