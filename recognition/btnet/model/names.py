"""Backbones by the names that configs and arcface_torch use."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from btnet.model.added import added_backbones
from btnet.model.backbone import Backbone
from btnet.model.iresnet import IResNet, iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.model.mobilefacenet import MobileFaceNet, mobilefacenet, mobilefacenet_large
from btnet.model.trunk_file import load_trunk

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
        name: a key of `BACKBONES`, or of `added_backbones`; "iresnet" and "mobilefacenet" take any depth and width.
        kwargs: of that backbone.

    Raises:
        ValueError: for an unknown name, or an argument that this backbone does not take.
    """
    known: dict[str, Callable[..., Backbone]] = dict(BACKBONES)
    if name not in known:
        known.update(added_backbones())
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"network {name!r}: expected one of {', '.join(known)}{hint}")
    try:
        return known[name](**kwargs)
    except TypeError as error:
        raise ValueError(f"network {name!r}: {error}; see network_args in configs/base.py") from error


def trunk_of(name: str) -> Backbone:
    """A trunk to count and describe: read from a .pt file, or by the name of its architecture.

    Args:
        name: a key of `BACKBONES`, or a path ending in .pt or .pth.

    Returns:
        The trunk; by name, on the meta device, where nothing is allocated or computed.

    Raises:
        ValueError: for an unknown name or a damaged file.
        FileNotFoundError: if the file is not there.
    """
    if Path(name).suffix in (".pt", ".pth"):
        return load_trunk(name)
    with torch.device("meta"):
        return create(name)
