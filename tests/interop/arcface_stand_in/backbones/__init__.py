"""Stand-in for a checkout of arcface_torch: the interface of its `backbones`, with our networks behind it."""

from __future__ import annotations

from typing import Any

from torch import nn

from btnet.model.iresnet import iresnet18


def get_model(name: str, **kwargs: Any) -> nn.Module:
    if name != "r18":
        raise ValueError
    return iresnet18(embedding_size=kwargs.get("num_features", 512), dropout=kwargs.get("dropout", 0.0))
