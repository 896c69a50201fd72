"""Small models whose BatchNorms are not the identity, for tests of what leaves and enters through ONNX."""

from __future__ import annotations

import torch
from torch import nn

from btnet import BTNet
from btnet.model.backbone import Backbone
from btnet.model.iresnet import IResNet
from btnet.model.mobilefacenet import MobileFaceNet


def iresnet(canonical_size: int = 32) -> IResNet:
    torch.manual_seed(0)
    return IResNet(
        (1, 2, 1, 1),
        widths=(8, 8, 12, 16),
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=24,
    )


def mobilefacenet(canonical_size: int = 32) -> MobileFaceNet:
    torch.manual_seed(0)
    return MobileFaceNet(
        blocks=(1, 2, 1, 1),
        scale=1,
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=24,
    )


def trained(trunk: Backbone, faces: torch.Tensor) -> Backbone:
    """Statistics of these faces, weights and slopes of no particular value; in eval mode."""
    torch.manual_seed(0)
    for module in trunk.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    if isinstance(trunk, IResNet):
        nn.init.ones_(trunk.features.weight)
    with torch.no_grad():
        trunk.train()(faces)
    return trunk.eval()


def with_branches(trunk: Backbone, *resolutions: int) -> BTNet:
    """Branches that learnt something: their own parameters moved, their statistics taken."""
    model = BTNet(trunk, resolutions, interpolation="area")
    with torch.no_grad():
        for r in resolutions:
            for parameter in model.learnt_parameters(r).values():
                parameter.mul_(1.1)
            model.network(r).train()(torch.rand(16, 3, r, r) * 2 - 1)
    return model.eval()
