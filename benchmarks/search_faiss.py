"""1:N search by faiss: approximate, or compressed, where a gallery outgrows exact search. Optional."""

from __future__ import annotations

from typing import Any

import numpy as np

from btnet.evaluation.cosine import Array, unit_rows
from btnet.evaluation.search import Neighbours

__all__ = ["build_index", "search_index"]

_BLOCK_ROWS = 1 << 16


def build_index(gallery: Array, *, factory: str, num_training_rows: int = 1 << 18, seed: int = 0) -> Any:
    """Train and fill a faiss index over the cosine.

    Args:
        gallery: [G, D], of any length; an array or a memory map, read a block at a time.
        factory: faiss' description of the index, e.g. "Flat" (exact), "IVF4096,Flat", "IVF4096,PQ64".
        num_training_rows: rows that an index with cells or codes learns from, drawn at random.
        seed: of that draw.

    Returns:
        The index; save it with `faiss.write_index`.

    Raises:
        ModuleNotFoundError: if faiss is not installed.
        ValueError: if faiss cannot build such an index, or an embedding is not finite.
    """
    faiss = _faiss()
    num_rows, size = np.shape(gallery)
    try:
        index = faiss.index_factory(size, factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            drawn = np.random.default_rng(seed).permutation(num_rows)[:num_training_rows]
            index.train(_float32(gallery[np.sort(drawn)], "gallery", 0))
    except RuntimeError as error:
        raise ValueError(f"faiss index {factory!r} over {num_rows} rows of {size}: {error}") from error
    for start in range(0, num_rows, _BLOCK_ROWS):
        index.add(_float32(gallery[start : start + _BLOCK_ROWS], "gallery", start))
    return index


def search_index(index: Any, probes: Array, *, k: int = 20, parameters: str = "") -> Neighbours:
    """The (approximately) k most similar rows of every probe.

    Args:
        index: of `build_index`.
        probes: [P, D], of any length.
        k: neighbours per probe.
        parameters: of the search as faiss writes them, e.g. "nprobe=64"; "" leaves them as they are.

    Returns:
        Scores and rows, best first; -inf and -1 where an approximate index found fewer than k.

    Raises:
        ModuleNotFoundError: if faiss is not installed.
        ValueError: if faiss does not know a parameter, k does not fit, or an embedding is not finite.
    """
    faiss = _faiss()
    if not 1 <= k <= index.ntotal:
        raise ValueError(f"k = {k} neighbours of {index.ntotal} gallery rows: expected 1 <= k <= rows")
    if parameters:
        try:
            faiss.ParameterSpace().set_index_parameters(index, parameters)
        except RuntimeError as error:
            raise ValueError(f"faiss parameters {parameters!r}: {error}") from error
    scores, indices = index.search(_float32(probes, "probes", 0), k)
    return Neighbours(np.where(indices < 0, -np.inf, scores).astype(np.float32), indices)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "faiss is not installed: `pip install faiss-cpu` (or faiss-gpu), or search exactly with "
            "btnet.evaluation.search"
        ) from error
    return faiss


def _float32(rows: Array, name: str, first_row: int) -> Array:
    return np.ascontiguousarray(unit_rows(rows, name, first_row=first_row), dtype=np.float32)
