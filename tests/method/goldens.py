"""Weights, inputs and expected outputs of networks run with the reference code, rebuilt from formulas."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ASSETS = Path(__file__).parents[1] / "assets"


def load(name: str) -> Any:
    return json.loads((ASSETS / name).read_text())


def fill(network: nn.Module, gain: float = 1.0) -> None:
    """Set every float tensor to a wave whose phase is made from the tensor's name."""
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = torch.from_numpy(_values(name, tuple(tensor.shape), gain))
    network.load_state_dict(state)


def _values(name: str, shape: tuple[int, ...], gain: float) -> Any:
    seed = zlib.crc32(name.encode()) % 9973
    wave = np.sin(seed + 0.7 * np.arange(math.prod(shape), dtype=np.float64)).reshape(shape)
    if name.endswith("running_var"):
        values = 1 + 0.3 * wave
    elif name.endswith("running_mean"):
        values = 0.1 * wave
    elif name.endswith("weight") and len(shape) == 1:
        values = 1 + 0.2 * wave
    elif name.endswith("weight"):
        values = wave * math.sqrt(2 / math.prod(shape[1:]))
    else:
        values = 0.05 * wave
    if "prelu" in name:
        values = 0.25 * values
    if name.endswith("weight") and len(shape) > 1:
        values = values * gain
    return values.astype(np.float32)


def images(size: int) -> Tensor:
    i = np.arange(2 * 3 * size * size, dtype=np.float64)
    return torch.from_numpy(np.cos(0.011 * i * (1 + i % 7)).reshape(2, 3, size, size).astype(np.float32))
