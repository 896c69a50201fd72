"""Cosines of embeddings with class centres, without keeping a normalised copy of the centres."""

# G rows of the global batch, C classes of this rank, D embedding

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from btnet.loss.ranks import differentiable

__all__ = ["cosine_with_centres"]


def cosine_with_centres(units: Tensor, centres: Tensor) -> Tensor:
    """Cosine of each embedding with each centre.

    Equals `units @ normalize(centres).T` with its gradients. Written down like that, a step keeps the normalised
    centres and makes several more matrices of their size on the way back: for many classes most of its memory. Here
    they are made twice, and live only as long as a product needs them.

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
        cosine_GC = units_GD @ normalize(centres_CD).T
        ctx.save_for_backward(units_GD, centres_CD, cosine_GC)
        return cosine_GC

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, Tensor]:
        units_GD, centres_CD, cosine_GC = ctx.saved_tensors
        lengths_C1 = centres_CD.norm(dim=1, keepdim=True).clamp_(min=1e-12)  # the bound of torch's normalize
        normalised_CD = centres_CD / lengths_C1
        grad_GD = grad[0] @ normalised_CD
        grad_CD = grad[0].T @ units_GD
        # a centre's length does not matter: nothing of its gradient lies along it
        along_C1 = (grad[0] * cosine_GC).sum(dim=0).unsqueeze(1)
        return grad_GD, grad_CD.addcmul_(normalised_CD, along_C1, value=-1).div_(lengths_C1)
