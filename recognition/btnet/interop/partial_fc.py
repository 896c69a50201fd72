"""Margins of btnet inside arcface_torch's own head: `PartialFC_V2(margin_loss, ...)`."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from btnet.loss.margin import Margin, positive_cosine
from btnet.loss.ranks import Ranks

__all__ = ["MarginSoftmax", "as_margin_softmax"]


def as_margin_softmax(margin: Margin, group: dist.ProcessGroup | None = None) -> MarginSoftmax:
    """Wrap a margin for `PartialFC_V2(margin_loss, embedding_size, num_classes, ...)`.

        head = PartialFC_V2(as_margin_softmax(CurricularFace()), 512, num_classes)

    PartialFC hands each rank its own columns only. CurricularFace needs more, every row's positive cosine: it
    is summed over the ranks here. What PartialFC does around it stays: it samples negatives per rank.

    Args:
        margin: one of `btnet.loss.MARGINS`.
        group: the ranks of the head; None for all.
    """
    return MarginSoftmax(margin, group)


class MarginSoftmax(nn.Module):
    """A margin with the signature of arcface_torch's losses, see `as_margin_softmax`."""

    def __init__(self, margin: Margin, group: dist.ProcessGroup | None = None) -> None:
        super().__init__()
        self.margin = margin
        self._group = group
        self._norms: Tensor | None = None

    def forward(self, cosine: Tensor, labels: Tensor) -> Tensor:
        """Scaled logits.

        Args:
            cosine: of the global batch with this rank's centres, [B, C]. Not written to.
            labels: column of each row's class, int64 [B, 1] or [B]; -1 where it lives on another rank.

        Returns:
            [B, C] in float32 (float64 if `cosine` is).
        """
        labels = labels.reshape(-1)
        # half precision would round the positive before the margin sees it
        cosine = cosine if cosine.dtype.itemsize > 4 else cosine.float()
        target = Ranks.of(self._group).sum(positive_cosine(cosine, labels))
        norms, self._norms = self._norms, None
        logits: Tensor = self.margin(cosine, labels, target=target, norms=norms)
        return logits

    def observe(self, head: nn.Module) -> MarginSoftmax:
        """Read the embeddings' lengths where they enter `head`: AdaFace needs them, PartialFC drops them.

            softmax = as_margin_softmax(AdaFace())
            head = PartialFC_V2(softmax, 512, num_classes)
            softmax.observe(head)

        Args:
            head: a module called as `head(local_embeddings, local_labels)`.

        Returns:
            This object.
        """
        head.register_forward_pre_hook(self._keep_norms)
        return self

    def _keep_norms(self, head: nn.Module, args: tuple[Any, ...]) -> None:
        embeddings: Tensor = args[0]
        self._norms = Ranks.of(self._group).gather(embeddings.detach().float().norm(dim=1))
