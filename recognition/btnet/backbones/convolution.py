"""A convolution that keeps its input for the backward pass only where its weight learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Convolution(nn.Conv2d):
    """`nn.Conv2d` without a bias and without dilation, with the same results and gradients.

    torch keeps the input of every convolution through which a gradient flows, since the weight's gradient needs it.
    The input's own gradient does not. In a frozen tail over a branch that learns this is two of about six
    feature maps of a unit.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of torch
        """[B, in_channels, H, W] -> [B, out_channels, H / stride, W / stride]."""
        if self.weight.requires_grad or not (torch.is_grad_enabled() and input.requires_grad):
            return super().forward(input)
        out: Tensor = _Frozen.apply(input, self.weight, self.stride, self.padding, self.groups)  # type: ignore[no-untyped-call]
        return out


class _Frozen(torch.autograd.Function):
    """Convolution with a constant weight."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], groups: int
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.dtype = x.shape[2:], x.dtype
        ctx.stride, ctx.padding, ctx.groups = stride, padding, groups
        return functional.conv2d(x, weight, None, stride, padding, 1, groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        [gradient] = gradients
        [weight] = ctx.saved_tensors
        # Rows and columns behind the last whole stride reach no output, but have a (zero) gradient.
        rest = [
            (size + 2 * padding - kernel) % stride
            for size, padding, kernel, stride in zip(
                ctx.size, ctx.padding, weight.shape[2:], ctx.stride, strict=True
            )
        ]
        found = functional.conv_transpose2d(
            gradient,
            weight.to(gradient.dtype),  # under autocast the products were made in its precision
            None,
            ctx.stride,
            ctx.padding,
            rest,
            ctx.groups,
        )
        return found.to(ctx.dtype), None, None, None, None
