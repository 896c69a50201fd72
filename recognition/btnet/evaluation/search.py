"""Exact 1:N search over millions of gallery embeddings in bounded memory, on one process or several.

The gallery is read a block at a time (an array or a memory map, float32 or float16) and each block is scored
against the probes on the device. A candidate must beat the k-th best so far, so next to nothing is sorted.
"""

# P probes of a tile, B gallery rows of a block, k neighbours, D embedding

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from btnet.evaluation.cosine import Array
from btnet.loss.ranks import Ranks

__all__ = ["Neighbours", "search", "search_sharded"]

# 16 MB of scores: small enough to stay near the cores, large enough to keep a GPU busy.
_BLOCK_ROWS = 4096
_TILE_ROWS = 1024
# Candidates sorted at a time; more are taken in several turns.
_MAX_CANDIDATES = 1 << 18


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The best gallery rows of each probe.

    Attributes:
        scores: cosines, falling, float32 [P, k].
        indices: gallery rows, int64 [P, k]; of equal scores the lower row comes first.
    """

    scores: Array
    indices: Array


def search(
    gallery: Array,
    probes: Array,
    *,
    k: int = 20,
    device: str | torch.device = "cpu",
) -> Neighbours:
    """The k most similar gallery rows of every probe.

    Args:
        gallery: [G, D], of any length; an array or a memory map.
        probes: [P, D], of any length.
        k: neighbours per probe, at most G.
        device: where scores are computed, in float32.

    Returns:
        Scores and rows, best first.

    Raises:
        ValueError: if an array is empty or of another D, k does not fit, or an embedding is not finite.
    """
    _check(gallery, probes)
    _check_k(k, len(gallery))
    return _search(gallery, probes, k=k, device=torch.device(device), first_index=0)


def search_sharded(
    gallery_shard: Array,
    probes: Array,
    *,
    k: int = 20,
    device: str | torch.device = "cpu",
    group: dist.ProcessGroup | None = None,
) -> Neighbours:
    """`search` with the gallery dealt out over the processes of torchrun: each holds consecutive rows.

    Row numbers run on from rank to rank. Every rank calls this with the same probes and gets the whole
    answer, the same as one process would.

    Args:
        gallery_shard: this rank's rows, [G_rank, D]; may be empty ([0, D]).
        probes: [P, D], the same on all ranks.
        k: neighbours per probe, at most the rows of all ranks together.
        device: where this rank computes.
        group: of the processes; None for all. Without an initialised group there is one process.

    Returns:
        Scores and rows of the joined gallery, best first.

    Raises:
        ValueError: as `search`.
    """
    ranks = Ranks.of(group)
    _check(gallery_shard, probes)
    counts = ranks.gather(torch.tensor([len(gallery_shard)]))
    _check_k(k, int(counts.sum()))
    own = _search(
        gallery_shard, probes, k=k, device=torch.device(device), first_index=int(counts[: ranks.rank].sum())
    )
    # [ranks, P, k] -> [P, ranks k]: lower ranks first, so that a stable sort keeps the order of equals.
    scores, indices = (
        ranks.gather(torch.from_numpy(values)[None]).movedim(0, 1).flatten(1)
        for values in (own.scores, own.indices)
    )
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return Neighbours(scores.gather(1, order).numpy(), indices.gather(1, order).numpy())


def _search(gallery: Array, probes: Array, *, k: int, device: torch.device, first_index: int) -> Neighbours:
    queries_PD = _unit(probes, 0, device, "probes")
    scores_Pk = queries_PD.new_full((len(probes), k), -torch.inf)
    indices_Pk = torch.full((len(probes), k), -1, device=device)
    for start in range(0, len(gallery), _BLOCK_ROWS):
        block_BD = _unit(gallery[start : start + _BLOCK_ROWS], start, device, "gallery")
        for first in range(0, len(probes), _TILE_ROWS):
            tile = slice(first, first + _TILE_ROWS)
            new_PB = queries_PD[tile] @ block_BD.T
            _absorb(scores_Pk[tile], indices_Pk[tile], new_PB, first_index + start)
    return Neighbours(scores_Pk.cpu().numpy(), indices_Pk.cpu().numpy())


def _absorb(scores_Pk: Tensor, indices_Pk: Tensor, new_PB: Tensor, first: int) -> None:
    """Keep, in place, the k best of each row among those kept and a block of new ones that come after them."""
    # Strictly better: of equals the earlier stays. Most rows have nothing better, and their maximum says so.
    better = (new_PB.amax(dim=1) > scores_Pk[:, -1]).nonzero().squeeze(1)
    if not len(better):
        return
    kept_scores, kept_indices, new_PB = scores_Pk[better], indices_Pk[better], new_PB[better]
    is_better = new_PB > kept_scores[:, -1:]
    half = new_PB.shape[1] // 2
    if half and int(is_better.count_nonzero()) > _MAX_CANDIDATES:
        _absorb(kept_scores, kept_indices, new_PB[:, :half], first)
        _absorb(kept_scores, kept_indices, new_PB[:, half:], first + half)
    else:
        row, column = is_better.nonzero(as_tuple=True)
        _merge(kept_scores, kept_indices, row, new_PB[row, column], column + first)
    scores_Pk[better], indices_Pk[better] = kept_scores, kept_indices


def _merge(scores_Pk: Tensor, indices_Pk: Tensor, row: Tensor, scores: Tensor, indices: Tensor) -> None:
    """Keep, in place, the k best of each row among those kept and listed candidates of higher index."""
    num_rows, k = scores_Pk.shape
    every_row = torch.arange(num_rows, device=row.device)
    rows = torch.cat([every_row.repeat_interleave(k), row])
    scores = torch.cat([scores_Pk.flatten(), scores])
    indices = torch.cat([indices_Pk.flatten(), indices])
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    # Each row now begins with its best, and has at least the k that were kept.
    counts = rows.bincount(minlength=num_rows)
    start = counts.cumsum(0) - counts
    best = order[start[:, None] + torch.arange(k, device=row.device)]
    scores_Pk.copy_(scores[best])
    indices_Pk.copy_(indices[best])


def _unit(rows: Array, first: int, device: torch.device, name: str) -> Tensor:
    values = torch.from_numpy(np.ascontiguousarray(rows)).to(device, torch.float32)
    norms = values.norm(dim=1, keepdim=True)
    broken = (~norms.isfinite()).nonzero()
    if len(broken):
        raise ValueError(
            f"{name}: the embedding in row {first + int(broken[0, 0])} is NaN or infinite; "
            "the network diverged or its input was broken, no score can be given"
        )
    return values / torch.where(norms == 0, 1, norms)


def _check(gallery: Array, probes: Array) -> None:
    shapes = np.shape(gallery), np.shape(probes)
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1] or 0 in shapes[1]:
        raise ValueError(
            f"gallery has shape {list(shapes[0])} and probes {list(shapes[1])}; expected [G, D] and [P, D] of "
            "one model, at least one probe"
        )


def _check_k(k: int, num_gallery: int) -> None:
    if not 1 <= k <= num_gallery:
        raise ValueError(f"k = {k} neighbours of {num_gallery} gallery rows: expected 1 <= k <= rows")
