"""Class centres by number: which rank holds which, how they start, and which take part in a step.

Everything here depends on class numbers and seeds only, never on how many ranks there are.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from btnet.draws import mix_bits

__all__ = ["initial_centres", "sampled_classes", "shard_range"]

# classes drawn from one generator: a rank draws the blocks it overlaps, so it never draws all classes
_BLOCK = 1024


def shard_range(num_classes: int, rank: int, world_size: int) -> tuple[int, int]:
    """Classes [start, stop) of one rank: equal shards, the last ones smaller or empty.

    This is the layout of a `DTensor` with `Shard(0)` (and of `torch.chunk`), so that a checkpoint can be read
    by any number of ranks. arcface_torch deals out the remainder differently: see `btnet.interop`.
    """
    per_rank = math.ceil(num_classes / world_size)
    return min(rank * per_rank, num_classes), min((rank + 1) * per_rank, num_classes)


def initial_centres(start: int, stop: int, embedding_size: int, seed: int) -> Tensor:
    """Rows [start, stop) of the initial centres, normal with standard deviation 0.01, float32 on the CPU.

    A class starts with the same centre whichever rank holds it.
    """
    # a length has no effect on the cosine; arcface_torch's 0.01 gives a learning rate the same meaning
    centres = torch.empty(stop - start, embedding_size)
    for block in range(start // _BLOCK, math.ceil(stop / _BLOCK)):
        generator = torch.Generator().manual_seed(_number("centres", seed, block))
        drawn = torch.empty(_BLOCK, embedding_size).normal_(0, 0.01, generator=generator)
        first, last = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
        if first < last:
            centres[first - start : last - start] = drawn[first - block * _BLOCK : last - block * _BLOCK]
    return centres


def sampled_classes(labels: Tensor, num_classes: int, sample_rate: float, seed: int, step: int) -> Tensor:
    """Classes that take part in a step: all positives, filled up with random negatives (partial FC).

    Scores come from (seed, step) alone, so all ranks choose the same classes without a message, and any
    number of ranks chooses the same. (arcface_torch fills up per rank, from each rank's own generator.)

    Args:
        labels: of the global batch, int64 [G].
        num_classes: of the whole classifier.
        sample_rate: share of the classes to keep, in (0, 1]; more are kept if the positives alone are more.
        seed: of the run.
        step: of the training.

    Returns:
        Sorted class numbers, int64, on the device of `labels`.
    """
    num_kept = math.ceil(sample_rate * num_classes)
    if len(labels) > num_kept:  # only then can there be too many positives
        num_kept = max(num_kept, len(torch.unique(labels)))
    # A random order that no two classes share a place in, which devices could sort apart; int64 wraps around.
    key = _number("negatives", seed, step)
    scores = mix_bits(torch.arange(num_classes, device=labels.device) + key)
    scores[labels] = torch.iinfo(torch.int64).max
    return scores.topk(num_kept).indices.sort().values


def _number(purpose: str, seed: int, number: int) -> int:
    """63 bits that differ for every purpose, seed and number."""
    digest = hashlib.blake2b(f"{purpose}/{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
