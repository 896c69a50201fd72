"""Stand-in: the signature of arcface_torch's loss; ArcFace (1, m, 0), its gradient not led through arccos."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CombinedMarginLoss(nn.Module):
    def __init__(
        self, s: float, m1: float, m2: float, m3: float, interclass_filtering_threshold: float = 0
    ) -> None:
        super().__init__()
        assert (m1, m3, interclass_filtering_threshold) == (1.0, 0.0, 0)
        self.s, self.m2 = s, m2

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        rows = torch.where(labels != -1)[0]
        with torch.no_grad():
            logits.arccos_()
            logits[rows, labels[rows].view(-1)] += self.m2
            logits.cos_()
        return logits * self.s
