"""The ranks that share a classifier, and the collectives that the losses need, with their gradients.

The convention of every gradient here: all ranks compute the *same* scalar loss, each calls `backward` on it
once, and each rank's local tensors receive the derivative of that one scalar.
"""

# G rows of the global batch, B rows of this rank, D embedding

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["Ranks", "differentiable"]

# torch 2.13 renamed it and warns of the old name at every call
_all_gather: Callable[..., Any] = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


@dataclass(frozen=True)
class Ranks:
    """A process group, or one process without any; the code that uses it is the same.

    Attributes:
        rank: this process's position in the group.
        world_size: number of processes in the group.
        group: None for the default group, or where there is a single process.
    """

    rank: int
    world_size: int
    group: dist.ProcessGroup | None

    @classmethod
    def of(cls, group: dist.ProcessGroup | None) -> Ranks:
        """The ranks of `group`; of the default group for None; a single one where none was initialised."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls(0, 1, None)
        return cls(dist.get_rank(group), dist.get_world_size(group), group)

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all ranks in rank order, [G, ...] from [B, ...] with equal B, without gradient."""
        if self.world_size == 1:
            return rows.detach()
        gathered = rows.new_empty((self.world_size * rows.shape[0], *rows.shape[1:]))
        _all_gather(gathered, rows.detach().contiguous(), group=self.group)
        return gathered

    def gather_embeddings(self, embeddings: Tensor) -> Tensor:
        """Embeddings of all ranks, [G, D] from [B, D]; their gradient is made for DDP, see `for_ddp_mean`."""
        return differentiable(_GatherEmbeddings, embeddings, self) if self.world_size > 1 else embeddings

    def for_ddp_mean(self, gradient: Tensor) -> Tensor:
        """Undo in advance the averaging of `DistributedDataParallel`: the one place that knows about it.

        The backbone's gradient is the *sum* over ranks of what each rank's rows contribute; DDP takes the
        mean. So what flows into the backbone is multiplied by the world size. Class centres are not
        averaged by anything and receive the plain derivative.
        """
        return gradient * self.world_size

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the ranks, on all ranks, with gradient."""
        return differentiable(_Sum, values, self) if self.world_size > 1 else values

    def sum_(self, values: Tensor) -> Tensor:
        """Sum over the ranks in place, without gradient."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.SUM, group=self.group)
        return values

    def max_(self, values: Tensor) -> Tensor:
        """Maximum over the ranks in place, without gradient."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX, group=self.group)
        return values

    def global_rank(self, rank: int) -> int:
        """The process number, in the whole job, of a rank of this group."""
        return rank if self.group is None else dist.get_global_rank(self.group, rank)


def differentiable(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    """Apply a function of ours; torch gives `apply` no types."""
    result: Tensor = function.apply(*args)  # type: ignore[no-untyped-call]
    return result


class _GatherEmbeddings(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.gather(embeddings)

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        # every rank's class centres pull at every row. A reduce-scatter would send half as much, but gloo
        # lacks it in some releases; [G, D] is small beside the logits
        ranks: Ranks = ctx.ranks
        grad_GD = ranks.sum_(grad[0].contiguous().clone())
        own_BD = grad_GD.chunk(ranks.world_size)[ranks.rank]
        return ranks.for_ddp_mean(own_BD), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum_(values.clone())

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        # each rank used the sum for its own share of the one loss
        ranks: Ranks = ctx.ranks
        return ranks.sum_(grad[0].contiguous().clone()), None
