"""Cosines of embeddings with class centres, without a normalised copy of the centres."""

# G rows of the global batch, C classes of this rank, D embedding

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from btnet.loss.ranks import differentiable

__all__ = ["cosine_with_centres"]


def cosine_with_centres(units: Tensor, centres: Tensor) -> Tensor:
    """Cosine of each embedding with each centre.

    Equals `units @ normalize(centres).T` with its gradients. Written down like that, a step holds the normalised
    centres, their gradient and what normalising needs on the way back: for many classes most of its memory.
    Dividing the products by the centres' lengths instead needs nothing of the centres' size but their gradient.

    Args:
        units: embeddings of length 1, [G, D].
        centres: of any length, [C, D], same dtype.

    Returns:
        [G, C].
    """
    return differentiable(_Cosine, units, centres)


class _Cosine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, units_GD: Tensor, centres_CD: Tensor) -> Tensor:
        lengths_C = centres_CD.norm(dim=1).clamp_(min=1e-12)  # the bound of torch's normalize
        cosine_GC = (units_GD @ centres_CD.T).div_(lengths_C)
        ctx.save_for_backward(units_GD, centres_CD, lengths_C, cosine_GC)
        return cosine_GC

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor]:
        units_GD, centres_CD, lengths_C, cosine_GC = ctx.saved_tensors
        scaled_GC = grad[0] / lengths_C
        grad_GD = scaled_GC @ centres_CD
        grad_CD = scaled_GC.T @ units_GD
        # a centre's length does not matter: nothing of its gradient lies along it
        along_C1 = (scaled_GC.mul_(cosine_GC).sum(dim=0) / lengths_C).unsqueeze(1)
        return grad_GD, grad_CD.addcmul_(centres_CD, along_C1, value=-1)
