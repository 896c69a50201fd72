"""Memory that a classifier takes on one rank, computed from shapes alone: no GPU, no such memory, no other rank."""

# G rows of the global batch, C classes of this rank, D embedding

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from btnet.loss import ArcFace, ShardedClassifier
from btnet.loss.centres import shard_range
from btnet.loss.margin import Margin
from btnet.loss.ranks import Ranks
from btnet.training.optimizer import RowSGD

_Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HeadMemory:
    """Bytes of one rank.

    Attributes:
        kept: centres and momentum, which stay between steps.
        peak: most at any time of a step, `kept` and the last gradient included.
        largest: elements of the largest single tensor.
    """

    kept: int
    peak: int
    largest: int


def head_memory(
    num_classes: int,
    world_size: int,
    *,
    batch_size: int,
    embedding_size: int = 512,
    sample_rate: float = 1.0,
    frozen: bool = False,
    margin: Callable[[], Margin] = ArcFace,
) -> HeadMemory:
    """Measure training steps of a `ShardedClassifier` on the meta device, as rank 0 of `world_size` runs them.

    When sampling, the rank is taken to hold its mean share of the drawn classes.

    Args:
        num_classes: of the whole classifier.
        world_size: number of ranks.
        batch_size: images per rank.
        embedding_size: D.
        sample_rate: share of the classes that take part in a step.
        frozen: the centres do not learn.
        margin: makes the margin.
    """

    def build() -> tuple[_Loss, nn.Parameter]:
        classifier = _MeanSample(
            margin(),
            num_classes,
            embedding_size,
            sample_rate=sample_rate,
            frozen=frozen,
            group=_SilentRanks(0, world_size, None),
            device="meta",
        ).to("meta")
        labels = torch.empty(batch_size, dtype=torch.int64, device="meta")
        return lambda embeddings: classifier(embeddings, labels), classifier.weight

    return _measure(build, batch_size, embedding_size, learns=not frozen)


def plain_head_memory(
    num_classes: int,
    world_size: int,
    *,
    batch_size: int,
    embedding_size: int = 512,
    sample_rate: float = 1.0,
    frozen: bool = False,
    replicated: bool = False,
) -> HeadMemory:
    """The same for a head written plainly, with torch's own operations.

    The centres are normalised inside the graph; cosines are clamped, the margin is applied by a mask, then comes
    torch's cross entropy (over the rank's own columns, in place of one over all); each step out of place.
    The gradient has the shape of all centres, those that were not sampled included. Frozen means that the
    optimiser is not given the centres: their gradient is computed all the same. `replicated`: every rank holds all
    classes and sees its own rows (plain data parallel), instead of its share of the classes and the rows of all.
    """
    start, stop = (0, num_classes) if replicated else shard_range(num_classes, 0, world_size)
    num_rows = batch_size * (1 if replicated else world_size)

    def build() -> tuple[_Loss, nn.Parameter]:
        weight = nn.Parameter(torch.empty(stop - start, embedding_size, device="meta"))
        labels_G = torch.empty(num_rows, dtype=torch.int64, device="meta")
        sampled = torch.empty(math.ceil(sample_rate * len(weight)), dtype=torch.int64, device="meta")

        def loss(embeddings: Tensor) -> Tensor:
            embeddings_GD = embeddings if replicated else embeddings.repeat(world_size, 1)
            centres_CD = weight if sample_rate == 1 else weight[sampled]
            cosine_GC = (normalize(embeddings_GD) @ normalize(centres_CD).T).clamp(-1, 1)
            # torch's one_hot reads the labels, which have no values here
            positive_GC = torch.empty(cosine_GC.shape, dtype=torch.bool, device="meta")
            logits_GC = 64.0 * torch.where(positive_GC, torch.cos(torch.acos(cosine_GC) + 0.5), cosine_GC)
            return cross_entropy(logits_GC, labels_G)

        return loss, weight

    return _measure(build, batch_size, embedding_size, learns=not frozen)


def _measure(
    build: Callable[[], tuple[_Loss, nn.Parameter]], batch_size: int, embedding_size: int, *, learns: bool
) -> HeadMemory:
    """Two steps in the order of `btnet.training.step`; the second one, which finds momentum and gradients, counts."""
    with LiveMemory() as memory:
        loss, weight = build()
        optimizer = RowSGD([weight], momentum=0.9, weight_decay=5e-4) if learns else None
        for _ in range(2):
            memory.peak = memory.live
            embeddings = torch.empty(batch_size, embedding_size, device="meta", requires_grad=True)
            value = loss(embeddings)
            weight.grad = None
            value.backward()  # type: ignore[no-untyped-call]
            if optimizer is not None:
                optimizer.step()
            del embeddings, value
        weight.grad = None
        return HeadMemory(kept=memory.live, peak=memory.peak, largest=memory.largest)


class _SilentRanks(Ranks):
    """Any number of ranks that do not exist: the shapes of their answers, without values."""

    def gather(self, rows: Tensor) -> Tensor:
        return rows.detach().repeat(self.world_size, *[1] * (rows.ndim - 1))

    def sum_(self, values: Tensor) -> Tensor:
        return values

    def max_(self, values: Tensor) -> Tensor:
        return values


class _MeanSample(ShardedClassifier):
    """How many of the drawn classes live here depends on values; without any, it is the mean share."""

    def _own(self, classes: Tensor) -> Tensor:
        share = (self.stop - self.start) / self.num_classes
        return classes[: math.ceil(share * len(classes))].clone()


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that operations inside the block make, until it is freed.

    Autograd's saved tensors count, as on a real device: a storage is alive as long as anything holds it. What
    an operation needs inside itself (the workspace of a matrix product or a sort, communication buffers) does
    not count, nor does rounding up to the allocator's blocks. Where it is watched, autograd works out of place in a
    few formulas that else work in place (the way back through `gather`): the peak may be one such result too high.

        with LiveMemory() as memory:
            loss(torch.empty(128, 512, device="meta")).backward()
        memory.peak

    Attributes:
        live: bytes alive now.
        peak: most bytes alive at any time; set it to `live` to start again.
        largest: elements of the largest single tensor.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                # a sparse tensor has no storage of its own, its indices and values have
                parts = [value] if value.layout == torch.strided else [value._indices(), value._values()]
                self.largest = max(self.largest, *(part.numel() for part in parts))
                for part in parts:
                    self._follow(part.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        address, num_bytes = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.live += num_bytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, address, num_bytes)

    def _forget(self, address: int, num_bytes: int) -> None:
        self._known.discard(address)
        self.live -= num_bytes
