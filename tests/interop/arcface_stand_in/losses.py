"""Stand-in: the signature of arcface_torch's loss; ArcFace (1, m, 0) only."""

from __future__ import annotations

from torch import Tensor, nn

from btnet.interop.arcface_torch import as_margin_softmax
from btnet.loss import ArcFace


class CombinedMarginLoss(nn.Module):
    def __init__(
        self, s: float, m1: float, m2: float, m3: float, interclass_filtering_threshold: float = 0
    ) -> None:
        super().__init__()
        self.softmax = as_margin_softmax(ArcFace(scale=s, margin=m2))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        out: Tensor = self.softmax(logits, labels)
        return out
