"""Backbones by the names that configs and arcface_torch use."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from btnet.model.backbone import Backbone
from btnet.model.iresnet import IResNet, iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.model.mobilefacenet import MobileFaceNet, mobilefacenet, mobilefacenet_large

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "r18": iresnet18,
    "r34": iresnet34,
    "r50": iresnet50,
    "r100": iresnet100,
    "r200": iresnet200,
    "iresnet18": iresnet18,
    "iresnet34": iresnet34,
    "iresnet50": iresnet50,
    "iresnet100": iresnet100,
    "iresnet200": iresnet200,
    "iresnet": IResNet,
    "mbf": mobilefacenet,
    "mbf_large": mobilefacenet_large,
    "mobilefacenet": MobileFaceNet,
    "mobilefacenet_large": mobilefacenet_large,
}


def create(name: str, **kwargs: Any) -> Backbone:
    """A freshly initialised backbone.

    Args:
        name: a key of `BACKBONES`; "iresnet" and "mobilefacenet" take any depth and width.
        kwargs: of that backbone.

    Raises:
        ValueError: for an unknown name, or an argument that this backbone does not take.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"network {name!r}: expected one of {', '.join(BACKBONES)}{hint}")
    try:
        return BACKBONES[name](**kwargs)
    except TypeError as error:
        raise ValueError(f"network {name!r}: {error}; see network_args in configs/base.py") from error
