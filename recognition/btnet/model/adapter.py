"""Low-rank adapters: what a branch may change about the trunk's frozen convolutions in its tail."""

# O output channels, I input channels, K kernel places, R rank

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from btnet.model.convolution import Convolution

__all__ = ["AdaptedConvolution", "add_adapters", "is_adapter", "merge_adapters"]

_DOWN, _UP = "adapter_down", "adapter_up"


class AdaptedConvolution(Convolution):
    """A convolution with weight W + U V: W is frozen and shared, U [O, R] and V [R, I * K] are a branch's own.

    LoRA (arXiv 2106.09685) for convolutions, without its scale. U starts at zero, so that the network starts as it
    was. The sum is made in each forward, not a second path: a plain convolution with the sum as its weight
    (`merge_adapters`) computes the same, and onnxruntime makes the sum once, when it loads a bundle.

    Args:
        frozen: the convolution it takes the place of; its weight is shared.
        rank: R.

    Raises:
        ValueError: if the rank exceeds what the weight can have.
    """

    def __init__(self, frozen: Convolution, rank: int):
        num_outputs, num_inputs = len(frozen.weight), frozen.weight[0].numel()
        if not 1 <= rank <= min(num_outputs, num_inputs):
            raise ValueError(
                f"adapter rank {rank}: a convolution of the tail has a matrix of {num_outputs} x {num_inputs}; take "
                f"1 to {min(num_outputs, num_inputs)}, or 0 for no adapters"
            )
        with torch.device("meta"):
            super().__init__(
                frozen.in_channels,
                frozen.out_channels,
                frozen.kernel_size,  # type: ignore[arg-type]
                frozen.stride,  # type: ignore[arg-type]
                frozen.padding,  # type: ignore[arg-type]
                bias=False,
            )
        self.weight = frozen.weight
        bound = 1 / math.sqrt(num_inputs)
        self.adapter_down = nn.Parameter(frozen.weight.new_empty(rank, num_inputs).uniform_(-bound, bound))
        self.adapter_up = nn.Parameter(frozen.weight.new_zeros(num_outputs, rank))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of torch
        """[B, in_channels, H, W] -> [B, out_channels, H / stride, W / stride]."""
        weight = _sum(self.weight, self.adapter_up, self.adapter_down)
        return functional.conv2d(input, weight, None, self.stride, self.padding)


def add_adapters(network: nn.Module, keys: Iterable[str], rank: int) -> None:
    """Give the convolutions among these parameters adapters; depth-wise ones have no rank to lower.

    Args:
        network: changed in place.
        keys: state keys of frozen parameters.
        rank: R.

    Raises:
        ValueError: if there is no convolution among them, or one too small for the rank.
    """
    found = False
    for key in keys:
        path = key.rpartition(".")[0]
        module = network.get_submodule(path)
        if isinstance(module, Convolution) and module.groups == 1:
            parent, _, name = path.rpartition(".")
            network.get_submodule(parent).add_module(name, AdaptedConvolution(module, rank))
            found = True
    if not found:
        raise ValueError(
            f"adapter rank {rank}: the tail shares no convolution that could be adapted; move tail_from, or take 0"
        )


def is_adapter(key: str) -> bool:
    """Whether a state key names a tensor of an adapter."""
    return key.rpartition(".")[2] in (_DOWN, _UP)


def merge_adapters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the same network with plain convolutions; without adapters, what was given."""
    merged = {key: value for key, value in state.items() if not is_adapter(key)}
    for key, up in state.items():
        path, _, name = key.rpartition(".")
        if name == _UP:
            weight = f"{path}.weight"
            merged[weight] = _sum(state[weight], up, state[f"{path}.{_DOWN}"]).detach()
    return merged


def _sum(weight: Tensor, up_OR: Tensor, down_RI: Tensor) -> Tensor:
    return weight + (up_OR @ down_RI).view_as(weight)
