"""The classifier: class centres spread over ranks, a margin, a cross entropy exact for any number of them."""

# G rows of the global batch, B rows of this rank, C classes of this rank, D embedding

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize

from btnet.loss.centres import initial_centres, sampled_classes, shard_range
from btnet.loss.margin import Margin, positive_cosine
from btnet.loss.ranks import Ranks, differentiable
from btnet.loss.softmax import cosine_with_centres, distributed_cross_entropy

__all__ = ["ShardedClassifier"]


class ShardedClassifier(nn.Module):
    """Margin softmax over the classes of all ranks; each rank holds the centres of its own classes.

    Loss, the backbone's gradient after DDP's averaging, the centres' gradient and the margin's running state
    are those of one process with the same global batch, whatever the number of ranks. A frozen classifier is the
    paper's old classifier (kappa*): its centres are normalised once, receive no gradient and no graph.

    Args:
        margin: one of `btnet.loss.MARGINS`, or any module with their signature.
        num_classes: of the whole classifier, at least 1; there may be more ranks than classes.
        embedding_size: D.
        sample_rate: share of the classes that take part in a training step, in (0, 1]: all positives, and
            random negatives. In eval mode all take part. Below 1 a step waits once for the GPU.
        frozen: the centres do not learn.
        interclass_filtering: cosine beyond which the centre of another class counts as 0, against labels that split a
            person (`interclass_filtering_threshold` of arcface_torch); 0: none.
        group: ranks that share the classes; None for all, or for a single process. Or `Ranks` themselves, as
            `head_memory` makes them up.
        seed: of the initial centres and of the sampling.
        device: of the centres.

    Attributes:
        weight: centres of this rank's classes, [C, D], not normalised unless frozen.
        start, stop: this rank's classes are [start, stop).
        sampled: rows of `weight` that took part in the last forward, int64; None if all did. The gradient is
            then sparse and holds these rows alone: `btnet.training.optimizer.RowSGD` moves no others.
    """

    step: Tensor

    def __init__(
        self,
        margin: Margin,
        num_classes: int,
        embedding_size: int,
        *,
        sample_rate: float = 1.0,
        frozen: bool = False,
        interclass_filtering: float = 0.0,
        group: dist.ProcessGroup | Ranks | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes {num_classes}: expected at least 1; is the training set empty?")
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate {sample_rate}: expected a share of the classes in (0, 1]")
        self.margin = margin
        self.num_classes = num_classes
        self.embedding_size = embedding_size
        self.sample_rate = sample_rate
        self.frozen = frozen
        self.interclass_filtering = interclass_filtering
        self.seed = seed
        self.ranks = group if isinstance(group, Ranks) else Ranks.of(group)
        self.start, self.stop = shard_range(num_classes, self.ranks.rank, self.ranks.world_size)
        self.sampled: Tensor | None = None

        weight = torch.empty(self.stop - self.start, embedding_size, device=device)
        if not weight.is_meta:
            weight.copy_(initial_centres(self.start, self.stop, embedding_size, seed))
        self.weight = nn.Parameter(weight, requires_grad=not frozen)
        # counts training steps for the sampling; the buffer is for the state dict, the int spares a wait
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        self._step = 0
        self._batch_size: int | None = None
        self.register_load_state_dict_post_hook(_after_load)  # type: ignore[no-untyped-call]
        self._normalise_if_frozen()

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Mean loss over the global batch.

        Args:
            embeddings: of this rank's images, any length, [B, D]. B is the same on all ranks.
            labels: class numbers in [0, num_classes), int64 [B].

        Returns:
            Scalar, equal on all ranks, in float32 (float64 if the embeddings are). Call `backward` on every
            rank: it communicates.

        Raises:
            ValueError: for a label out of range (on a GPU it is a device assertion, which costs no wait), for
                other shapes, or batch sizes that differ between ranks.
        """
        self._check_batch(embeddings, labels)
        # cosines in half precision have steps of 0.001, times 64 in the logits: full precision under autocast
        # (autocast has no name for the meta device, where memory is counted)
        with torch.autocast("cpu" if embeddings.is_meta else embeddings.device.type, enabled=False):
            dtype = torch.promote_types(torch.float32, embeddings.dtype)
            embeddings_GD = self.ranks.gather_embeddings(embeddings.to(dtype))
            labels_G = self.ranks.gather(labels)
            self._check_labels(labels_G)
            weight_CD, columns_G = self._centres(labels_G)

            units_GD, weight_CD = normalize(embeddings_GD), weight_CD.to(dtype)
            cosine_GC = units_GD @ weight_CD.T if self.frozen else cosine_with_centres(units_GD, weight_CD)
            target_G = self.ranks.sum(positive_cosine(cosine_GC, columns_G))
            if self.interclass_filtering:  # the margin puts the row's own class back, from `target`
                cosine_GC = cosine_GC.masked_fill(cosine_GC > self.interclass_filtering, 0)
            norms_G = embeddings_GD.detach().norm(dim=1)
            logits_GC = self.margin(cosine_GC, columns_G, target=target_G, norms=norms_G)
            return distributed_cross_entropy(logits_GC, columns_G, self.ranks)

    def full_weight(self) -> Tensor | None:
        """All centres, [num_classes, D], on the CPU of rank 0; None elsewhere. All ranks must call it."""
        own = self.weight.detach()
        if self.ranks.rank > 0:
            if len(own) > 0:
                dist.send(own.contiguous(), self.ranks.global_rank(0), group=self.ranks.group)
            return None
        shards = [own.cpu()]
        for rank in range(1, self.ranks.world_size):
            start, stop = shard_range(self.num_classes, rank, self.ranks.world_size)
            if start < stop:
                shard = own.new_empty(stop - start, self.embedding_size)
                dist.recv(shard, self.ranks.global_rank(rank), group=self.ranks.group)
                shards.append(shard.cpu())
        return torch.cat(shards)

    def load_full_weight(self, weight: Tensor) -> None:
        """Take this rank's rows out of all centres, [num_classes, D]; a frozen classifier normalises them.

        Raises:
            ValueError: for another shape.
        """
        expected = [self.num_classes, self.embedding_size]
        if list(weight.shape) != expected:
            raise ValueError(
                f"classifier weight of shape {list(weight.shape)}: this run has {expected[0]} classes and "
                f"embeddings of {expected[1]}; use the classifier of the same training set and trunk"
            )
        self.load_local_weight(weight[self.start : self.stop])

    def load_local_weight(self, weight: Tensor) -> None:
        """Take the centres of [start, stop) as they are in a file's slice (`load_classifier(rows=...)`).

        Raises:
            ValueError: for another shape.
        """
        if weight.shape != self.weight.shape:
            raise ValueError(
                f"shard of shape {list(weight.shape)}: rank {self.ranks.rank} holds classes [{self.start}, "
                f"{self.stop}), so {list(self.weight.shape)}; slice start:stop, or call load_full_weight"
            )
        with torch.no_grad():
            self.weight.copy_(weight)
        self._normalise_if_frozen()

    def _centres(self, labels_G: Tensor) -> tuple[Tensor, Tensor]:
        """Centres that take part, [C, D], and each row's column among them (-1: not here)."""
        if self.training and self.sample_rate < 1:
            kept = sampled_classes(labels_G, self.num_classes, self.sample_rate, self.seed, self._step)
            kept = self._own(kept)
            self.sampled = kept - self.start
            weight_CD = differentiable(_Rows, self.weight, self.sampled)
            columns_G = torch.searchsorted(kept, labels_G)  # exact: all positives of this rank are in `kept`
            self._step += 1
            self.step.fill_(self._step)
        else:
            self.sampled = None
            weight_CD, columns_G = self.weight, labels_G - self.start
        here_G = (labels_G >= self.start) & (labels_G < self.stop)
        return weight_CD, torch.where(here_G, columns_G, -1)

    def _own(self, classes: Tensor) -> Tensor:
        """Those of the classes that live on this rank; how many they are depends on their values."""
        return classes[(classes >= self.start) & (classes < self.stop)]

    def _check_batch(self, embeddings: Tensor, labels: Tensor) -> None:
        size = len(embeddings)
        if embeddings.shape != (size, self.embedding_size) or labels.shape != (size,) or size == 0:
            raise ValueError(
                f"embeddings {list(embeddings.shape)} and labels {list(labels.shape)}: expected "
                f"[B, {self.embedding_size}] and [B], B at least 1"
            )
        if self.ranks.world_size == 1 or embeddings.is_meta:
            return
        if size == self._batch_size and embeddings.device.type != "cpu":
            return
        if self._batch_size is not None and embeddings.device.type != "cpu":
            raise ValueError(
                f"batch of {size} on rank {self.ranks.rank} after batches of {self._batch_size}: on a GPU "
                "sizes are compared between ranks once, since that waits; keep them equal (drop_last=True)"
            )
        # rows of unequal batches would be gathered wrongly or never: all ranks must learn of it here
        sizes = self.ranks.gather(torch.tensor([size], device=embeddings.device)).tolist()
        if len(set(sizes)) > 1:
            raise ValueError(
                f"batch sizes of the ranks are {sizes}: they must be equal, or DDP's averaging weighs rows "
                "of small batches more; use a sampler that drops the remainder (drop_last=True)"
            )
        self._batch_size = size

    def _check_labels(self, labels_G: Tensor) -> None:
        wrong_G = (labels_G < 0) | (labels_G >= self.num_classes)
        if labels_G.device.type != "cpu":
            torch._assert_async(~wrong_G.any(), f"a label lies outside [0, {self.num_classes})")
        elif bool(wrong_G.any()):
            raise ValueError(
                f"label {int(labels_G[wrong_G][0])} is out of range: the classifier has num_classes "
                f"{self.num_classes}, so labels 0 to {self.num_classes - 1}; was it built for other data?"
            )

    def _normalise_if_frozen(self) -> None:
        """Once, not per step. Centres that are normalised already stay as they are, to the bit."""
        if not self.frozen or self.weight.is_meta:
            return
        with torch.no_grad():
            lengths = self.weight.norm(dim=1, keepdim=True)
            wrong = (lengths - 1).abs() > 1e-5
            self.weight.copy_(torch.where(wrong, normalize(self.weight), self.weight))


class _Rows(torch.autograd.Function):
    """Different rows of a matrix; the gradient is sparse and has these rows only."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = weight.shape
        return weight[rows]

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        gradient = torch.sparse_coo_tensor(
            rows.unsqueeze(0), grad[0], ctx.shape, is_coalesced=True, check_invariants=False
        )
        return gradient, None


def _after_load(module: nn.Module, incompatible_keys: Any) -> None:
    assert isinstance(module, ShardedClassifier)
    module._step = 0 if module.step.is_meta else int(module.step)
    module._normalise_if_frozen()
