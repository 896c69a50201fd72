"""Stand-in: the interface of arcface_torch's head, its shards and its collectives, in plain operations."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize

from btnet.interop.arcface_torch import shard_sizes
from btnet.loss.ranks import Ranks
from btnet.loss.softmax import distributed_cross_entropy


class PartialFC_V2(nn.Module):  # noqa: N801
    def __init__(
        self,
        margin_loss: nn.Module,
        embedding_size: int,
        num_classes: int,
        sample_rate: float = 1.0,
        fp16: bool = False,
    ) -> None:
        super().__init__()
        self.rank, self.world_size = distributed.get_rank(), distributed.get_world_size()
        sizes = shard_sizes(num_classes, self.world_size)
        self.num_local, self.class_start = sizes[self.rank], sum(sizes[: self.rank])
        self.weight = nn.Parameter(torch.normal(0, 0.01, (self.num_local, embedding_size)))
        self.margin_softmax = margin_loss

    def forward(self, local_embeddings: Tensor, local_labels: Tensor) -> Tensor:
        ranks = Ranks.of(None)
        local_labels.squeeze_()
        embeddings = ranks.gather_embeddings(local_embeddings)
        labels = ranks.gather(local_labels.long().view(-1, 1).cuda()) - self.class_start
        labels[(labels < 0) | (labels >= self.num_local)] = -1
        with torch.cuda.amp.autocast(False):  # type: ignore[attr-defined]
            cosine = (normalize(embeddings) @ normalize(self.weight).T).clamp(-1, 1)
        return distributed_cross_entropy(self.margin_softmax(cosine, labels), labels.view(-1), ranks)
