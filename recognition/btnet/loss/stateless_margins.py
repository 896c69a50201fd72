"""The margins without state: NormFace, CosFace, ArcFace and SphereFace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from btnet.loss.margin import Margin


class NormFace(Margin):
    """Softmax on scaled cosines, no margin (NormFace, Wang et al. 2017, eq. 6).

    Args:
        scale: s.
        margin: 0; there for the same keywords everywhere.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.0) -> None:
        super().__init__(scale=scale, margin=margin)
        if margin != 0:
            raise ValueError(f"margin {margin}: NormFace has none; leave it out, or take CosFace or ArcFace")

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """The cosine itself."""
        return target


class CosFace(Margin):
    """Additive cosine margin: cos(theta) - m (CosFace, Wang et al. 2018, eq. 4).

    Args:
        scale: s.
        margin: m, a difference of cosines. The paper's is 0.35; arcface_torch and the authors of BTNet
            train with 0.40.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.35) -> None:
        super().__init__(scale=scale, margin=margin)

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """cos(theta) - m."""
        return target - self.margin


class ArcFace(Margin):
    """Additive angular margin: cos(theta + m) (ArcFace, Deng et al. 2019, eq. 3).

    Beyond theta + m = pi the cosine would rise again and reward a worse embedding; there, as in its
    authors' first code, the logit is cos(theta) - m sin(m), which keeps falling. Forward and backward agree;
    arcface_torch's do not: for its gradient take `ArcFaceStraightThrough`.

    Args:
        scale: s.
        margin: m in radians, at most pi.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__(scale=scale, margin=margin)
        if margin > math.pi:
            raise ValueError(f"margin {margin}: an angle in radians, at most pi; the paper's is 0.5")

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """cos(theta + m) up to theta + m = pi, then cos(theta) - m sin(m)."""
        beyond = target - self.margin * math.sin(self.margin)
        return torch.where(target > math.cos(math.pi - self.margin), angle_added(target, self.margin), beyond)


class ArcFaceStraightThrough(ArcFace):
    """ArcFace as arcface_torch computes it: the value cos(theta + m), with the gradient of cos(theta).

    Its losses take the angle, add m and return to the cosine outside the graph (`CombinedMarginLoss` with
    m1 = 1 and m3 = 0, and its `ArcFace`). So each logit passes s times its gradient to its cosine, where the
    formula has the factor sin(theta + m) / sin(theta) for the positive. Nothing is continued beyond
    theta + m = pi: there the value rises again.

    Args:
        scale: s.
        margin: m in radians, at most pi.
    """

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """cos(theta + m); its derivative by cos(theta) counts as 1."""
        value = (target.detach().clamp(-1, 1).acos() + self.margin).cos()
        return value + (target - target.detach())  # the difference is 0, to the bit


class SphereFace(Margin):
    """Multiplicative angular margin: psi(m theta) (SphereFace, Liu et al. 2017, eq. 7).

    psi(m theta) = (-1)^k cos(m theta) - 2k for theta in [k pi / m, (k + 1) pi / m]. Two things differ from
    the paper: embeddings are normalised and scaled by s, like those of every other margin here (the paper
    keeps their length), and there is no annealing towards the plain softmax (which its eq. 7 does not have
    either; its code does). From scratch m = 4 is hard to start with: take 1.35 to 1.7, or fine-tune.

    Args:
        scale: s.
        margin: m, a factor on the angle, at least 1. The paper's is 4; it need not be an integer.
    """

    def __init__(self, *, scale: float = 64.0, margin: float = 4.0) -> None:
        super().__init__(scale=scale, margin=margin)
        if not margin >= 1:
            raise ValueError(f"margin {margin}: SphereFace multiplies the angle, so expected at least 1")

    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """psi(m theta)."""
        # acos has no derivative at +-1; a row there (one that rounding put there) gets no gradient
        limit = 1 - torch.finfo(target.dtype).eps
        phi = self.margin * target.clamp(-limit, limit).acos()
        k = (phi.detach() / math.pi).floor()
        sign = 1 - 2 * k.remainder(2)
        return sign * phi.cos() - 2 * k


def angle_added(cosine: Tensor, angle_rad: float) -> Tensor:
    """cos(theta + angle) from cos(theta), with a finite gradient at theta = 0 and pi.

    Written out as cos(theta) cos(angle) - sin(theta) sin(angle): no acos. Its derivative still grows like
    1 / sin(theta), so sin(theta) has a floor of about 3e-4 in float32, below which it counts as constant.
    """
    eps = torch.finfo(cosine.dtype).eps
    sine = (1 - cosine.square()).clamp(min=eps).sqrt()
    return cosine * math.cos(angle_rad) - sine * math.sin(angle_rad)
