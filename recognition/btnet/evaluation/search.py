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

_BLOCK_ROWS = 8192
_TILE_ROWS = 2048
# Candidates sorted at a time; more are taken in several turns.
_MAX_CANDIDATES = 1 << 20


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
    tiles = torch.split(_unit(probes, 0, device, "probes"), _TILE_ROWS)
    best = [
        (tile.new_full((len(tile), k), -torch.inf), torch.full((len(tile), k), -1, device=device))
        for tile in tiles
    ]
    for start in range(0, len(gallery), _BLOCK_ROWS):
        block_BD = _unit(gallery[start : start + _BLOCK_ROWS], start, device, "gallery")
        for number, tile_PD in enumerate(tiles):
            best[number] = _absorb(*best[number], tile_PD @ block_BD.T, first_index + start)
    scores, indices = (torch.cat(values).cpu().numpy() for values in zip(*best, strict=True))
    return Neighbours(scores, indices)


def _absorb(scores_Pk: Tensor, indices_Pk: Tensor, new_PB: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """The k best of each row among the old ones and a block of new ones that come after them."""
    # Strictly: of equals the earlier row stays.
    row, column = (new_PB > scores_Pk[:, -1:]).nonzero(as_tuple=True)
    num_probes, k = scores_Pk.shape
    half = new_PB.shape[1] // 2
    if len(row) > _MAX_CANDIDATES and half:
        best = _absorb(scores_Pk, indices_Pk, new_PB[:, :half], first)
        return _absorb(*best, new_PB[:, half:], first + half)
    if not len(row):
        return scores_Pk, indices_Pk
    everybody = torch.arange(num_probes, device=row.device).repeat_interleave(k)
    rows = torch.cat([everybody, row])
    scores = torch.cat([scores_Pk.flatten(), new_PB[row, column]])
    indices = torch.cat([indices_Pk.flatten(), column + first])
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    # The first k of each row; every row has at least the k old ones.
    counts = rows.bincount(minlength=num_probes)
    start = counts.cumsum(0) - counts
    order = order[(start[:, None] + torch.arange(k, device=row.device)).flatten()]
    return scores[order].view_as(scores_Pk), indices[order].view_as(indices_Pk)


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
