"""A model small enough for tests whose embeddings still tell faces apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from btnet.backbones.iresnet import IResNet
from btnet.method.btnet import BTNet

CANONICAL = 112


def tiny_trunk(seed: int = 0) -> IResNet:
    torch.manual_seed(seed)
    network = IResNet((1, 1, 1, 1), widths=(4, 4, 8, 8), canonical_size=CANONICAL, embedding_size=16)
    return _with_statistics(network)


def tiny_btnet(seed: int = 0, resolutions: tuple[int, ...] = (28, 14, 7), **kwargs: Any) -> BTNet:
    model = BTNet(tiny_trunk(seed), resolutions, **kwargs)
    for resolution in resolutions:
        # Branches unlike the trunk and each other: a face taken to the wrong one is seen.
        _with_statistics(model.network(resolution))
    return model.eval()


def crops_of(sizes: list[tuple[int, int]], seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for width, height in sizes]


def _with_statistics(network: nn.Module) -> IResNet:
    assert isinstance(network, IResNet)
    norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    with torch.no_grad():
        network(torch.randn(16, 3, network.input_size, network.input_size))
    for norm in norms:
        norm.momentum = 0.1
    return network.eval()
