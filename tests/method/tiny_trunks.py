"""Trunks of both kinds for 32 px faces, and faces of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet


def iresnet() -> Backbone:
    torch.manual_seed(0)
    return IResNet([1, 1, 1, 1], widths=[16, 16, 16, 24], canonical_size=32, embedding_size=8)


def mobilefacenet() -> Backbone:
    torch.manual_seed(0)
    return MobileFaceNet(blocks=(1, 1, 1, 1), scale=1, canonical_size=32, embedding_size=8)


def faces(size: int) -> Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1
