"""BatchNorms that stand where a network of another repository has none: they change nothing, and have seen nothing.

In eval mode that is right. In train mode a BatchNorm normalises with the batch, and one without statistics and weights
of its own loses the batch's scale; so they are measured before a network is trained.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

_EPS: Final = 1e-5
_UNMEASURED: Final = {"weight": math.sqrt(1 + _EPS), "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


def unmeasured_norm(num_channels: int) -> dict[str, Tensor]:
    """State of a BatchNorm that passes its input on and has seen nothing yet."""
    state = {entry: torch.full((num_channels,), value) for entry, value in _UNMEASURED.items()}
    return {**state, "num_batches_tracked": torch.tensor(0)}


def unmeasured_norms(network: nn.Module) -> list[str]:
    """Names of the BatchNorms in the state that `unmeasured_norm` gives them."""
    expected = {
        entry: float(torch.tensor(value)) for entry, value in _UNMEASURED.items()
    }  # as float32 stores it
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not module.weight.is_meta
        if all(bool((getattr(module, entry) == value).all()) for entry, value in expected.items())
    ]


def check_measured(network: nn.Module, where: object) -> None:
    """Refuse to train a network with unmeasured BatchNorms; `where` is its trunk's file.

    Raises:
        ValueError: if there are any.
    """
    if names := unmeasured_norms(network):
        raise ValueError(
            f"{where}: {len(names)} BatchNorms without statistics ({names[0]} ...); measure them on faces first: "
            f"btnet convert-trunk {where} --faces SET -o measured.pt"
        )
