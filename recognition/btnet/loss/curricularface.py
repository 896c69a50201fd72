"""CurricularFace: hard negatives weigh more as training goes on."""

from __future__ import annotations

import torch
from torch import Tensor

from btnet.loss.stateless_margins import ArcFace, angle_added

__all__ = ["CurricularFace"]


class CurricularFace(ArcFace):
    """ArcFace whose hard negatives are re-weighted (CurricularFace, Huang et al. 2020, eq. 5, 10, 11).

    A negative is hard if it is more similar than the row's positive with its margin; its cosine c becomes
    c (t + c). `t` follows the mean positive cosine of the global batch: t = alpha t + (1 - alpha) mean. It
    moves before it is used, as in the authors' code. Neither `t` nor what is hard receives a gradient.

    When classes are spread over ranks, `target` must hold every row's positive cosine: hard negatives lie
    on every rank, and `t` is the mean of all rows. Then all ranks keep the same `t`.

    Args:
        scale: s.
        margin: m in radians.
        alpha: share of the old `t` that a step keeps, in [0, 1].

    Attributes:
        t: the curriculum's progress, a scalar buffer, 0 at the start.
    """

    t: Tensor

    def __init__(self, *, scale: float = 64.0, margin: float = 0.5, alpha: float = 0.99) -> None:
        super().__init__(scale=scale, margin=margin)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha {alpha}: the share of t a step keeps, in [0, 1]; the paper's is 0.99")
        self.alpha = alpha
        self.register_buffer("t", torch.zeros(()))

    def negatives(self, cosine: Tensor, target: Tensor) -> Tensor:
        """Hard negatives c become c (t + c), the others stay."""
        threshold_B1 = angle_added(target.detach(), self.margin).unsqueeze(1)
        factor_BC = torch.where(cosine > threshold_B1, self.t.to(cosine.dtype) + cosine, 1)
        return cosine * factor_BC

    def observe(self, target: Tensor, norms: Tensor | None) -> None:
        """Move `t` towards the mean positive cosine."""
        mean = target.detach().mean().to(self.t.dtype)
        self.t.copy_(self.alpha * self.t + (1 - self.alpha) * mean)

    def check(self, labels: Tensor, target: Tensor | None, norms: Tensor | None) -> None:
        """Without `target`, every row's class must be here (only then is the GPU waited for)."""
        if target is None and bool((labels < 0).any()):
            raise ValueError(
                "labels contain -1, a class on another rank, and no target was given: CurricularFace "
                "re-weights that row's negatives here too, and t is the mean over all rows; pass target=, "
                "the positive cosines summed over the ranks, or use ShardedClassifier or as_margin_softmax, "
                "which do it"
            )
