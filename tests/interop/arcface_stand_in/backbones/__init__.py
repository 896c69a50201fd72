"""Stand-in for a checkout of arcface_torch: the interface of its `backbones`, with our network behind it."""

from __future__ import annotations

from typing import Any

from torch import nn

from btnet.interop import network_names


def get_model(name: str, **kwargs: Any) -> nn.Module:
    if name == "r18":
        return network_names.get_model("r18", **kwargs)
    raise ValueError()
