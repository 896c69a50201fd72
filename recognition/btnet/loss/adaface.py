"""AdaFace: the margin follows the quality of the image, read from the length of its embedding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from btnet.loss.margin import Margin

__all__ = ["AdaFace"]


class AdaFace(Margin):
    """Margin by feature norm: cos(theta + g_angle) - g_add (AdaFace, Kim et al. 2022, eq. 14 to 17).

    z = clip((norm - mean) / (std / h), -1, 1) is the quality of a row; g_angle = -m z and g_add = m z + m. A
    clear image (z = 1) so gets a negative angular margin and 2 m in cosine, an unrecognisable one (z = -1)
    ArcFace's. Mean and standard deviation of the norms are running averages over global batches; they
    move before they are used. Norms are clipped to [0.001, 100] as in the authors' code; no gradient flows
    through them.

    Args:
        scale: s.
        margin: m.
        h: concentration; the paper's 0.333 puts 68 % of a normal distribution's z in [-0.333, 0.333].
        alpha: share of the old statistics that a step keeps, in [0, 1].

    Attributes:
        norm_mean: running mean of the embeddings' lengths, a scalar buffer, 20 at the start.
        norm_std: running standard deviation (unbiased), a scalar buffer, 100 at the start.
    """

    norm_mean: Tensor
    norm_std: Tensor

    def __init__(
        self, *, scale: float = 64.0, margin: float = 0.4, h: float = 0.333, alpha: float = 0.99
    ) -> None:
        super().__init__(scale=scale, margin=margin)
        if not h > 0:
            raise ValueError(f"h {h}: expected a positive number; the paper's is 0.333")
        if not 0 <= alpha <= 1:
            raise ValueError(
                f"alpha {alpha}: the share of the statistics a step keeps, in [0, 1]; the paper's is 0.99"
            )
        self.h = h
        self.alpha = alpha
        # the authors' start: far from a usual batch, so that z is near 0 for all rows at first
        self.register_buffer("norm_mean", torch.tensor(20.0))
        self.register_buffer("norm_std", torch.tensor(100.0))

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """cos(theta - m z) - (m + m z)."""
        assert norms is not None  # check() saw to it
        with torch.no_grad():
            z = (_clipped(norms, target.dtype) - self.norm_mean) / (self.norm_std + _EPS) * self.h
            angle = -self.margin * z.clamp(-1, 1)
            added = self.margin - angle
        limit = 1 - _EPS
        theta = target.clamp(-limit, limit).acos()
        return (theta + angle).clamp(_EPS, math.pi - _EPS).cos() - added

    def observe(self, target: Tensor, norms: Tensor | None) -> None:
        """Move the running mean and standard deviation of the norms."""
        assert norms is not None
        lengths = _clipped(norms, self.norm_mean.dtype)
        self.norm_mean.copy_(self.alpha * self.norm_mean + (1 - self.alpha) * lengths.mean())
        if len(lengths) > 1:  # one row has no deviation
            self.norm_std.copy_(self.alpha * self.norm_std + (1 - self.alpha) * lengths.std())

    def check(self, labels: Tensor, target: Tensor | None, norms: Tensor | None) -> None:
        """Norms are needed."""
        if norms is None:
            raise ValueError(
                "AdaFace reads the quality of an image from the length of its embedding, and no norms "
                "were given: pass norms= [B]; with PartialFC_V2, call as_margin_softmax(margin).observe(head)"
            )


# the authors' bound: angles keep this distance from 0 and pi, cosines from -1 and 1
_EPS = 1e-3


def _clipped(norms: Tensor, dtype: torch.dtype) -> Tensor:
    return norms.detach().to(dtype).clamp(0.001, 100)
