"""Cosines with class centres, and a cross entropy, where the classes are spread over ranks."""

# G rows of the global batch, C classes of this rank, D embedding

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from btnet.loss.ranks import Ranks, differentiable

__all__ = ["cosine_with_centres", "distributed_cross_entropy"]


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


def distributed_cross_entropy(logits: Tensor, labels: Tensor, ranks: Ranks) -> Tensor:
    """Mean over rows of -log softmax(logits)[label], no rank ever seeing the columns of another.

    Args:
        logits: of the global batch with the classes of this rank, [G, C]; C may be 0 and differ by rank.
        labels: column of each row's class, int64 [G]; -1 where it lives on another rank.
        ranks: who shares the classes.

    Returns:
        The scalar loss, equal on all ranks. Its gradient reaches this rank's logits only.
    """
    return differentiable(_CrossEntropy, logits, labels, ranks)


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


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_GC: Tensor, labels: Tensor, ranks: Ranks) -> Tensor:
        here_G = labels >= 0
        column_G1 = labels.clamp(min=0).unsqueeze(1)
        lowest_G1 = logits_GC.new_full((logits_GC.shape[0], 1), -torch.inf)
        largest_G1 = lowest_G1 if logits_GC.shape[1] == 0 else logits_GC.amax(dim=1, keepdim=True)
        ranks.max_(largest_G1)

        shifted_GC = logits_GC - largest_G1
        if logits_GC.shape[1] == 0:
            positive_G = largest_G1.new_zeros(labels.shape)
        else:
            positive_G = torch.where(here_G, shifted_GC.gather(1, column_G1).squeeze(1), 0)
        exponential_GC = shifted_GC.exp_()
        # one message for both: the softmax's denominator, and the positive, which is 0 on all ranks but one
        denominator_G, positive_G = ranks.sum_(torch.stack([exponential_GC.sum(dim=1), positive_G]))
        ctx.save_for_backward(exponential_GC.div_(denominator_G.unsqueeze(1)), here_G, column_G1)
        loss: Tensor = (denominator_G.log() - positive_G).mean()
        return loss

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> tuple[Tensor, None, None]:
        probability_GC, here_G, column_G1 = ctx.saved_tensors
        share = grad[0] / probability_GC.shape[0]
        grad_GC = probability_GC * share
        if probability_GC.shape[1] > 0:
            grad_GC.scatter_add_(1, column_G1, (-share * here_G.to(share.dtype)).unsqueeze(1))
        return grad_GC, None, None
