"""Networks by the names of arcface_torch's `get_model`, and ours beside them: `btnet_r50_14_from112`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.backbones.convolution import Convolution
from btnet.backbones.registry import ARCFACE_TORCH_NAMES, create
from btnet.data.views import resize_normalised
from btnet.images.interpolation import check_interpolation

__all__ = ["branch_name", "get_model", "trunk_name", "with_btnet"]

_PREFIX: Final = "btnet_"
_BRANCH: Final = re.compile(r"btnet_(?P<trunk>.+?)_(?P<resolution>\d+)(_from(?P<size>\d+)(_(?P<how>\w+))?)?")


def get_model(name: str, *, fp16: bool = False, dropout: float = 0.0, num_features: int = 512) -> Backbone:
    """A network by name, with the arguments of arcface_torch's `backbones.get_model`.

    | name | network |
    |---|---|
    | r18, r34, r50, r100, r200, mbf, mbf_large | trunk for 112 px |
    | btnet_r50_14 | r50's network for 14 px, takes 14 px faces |
    | btnet_r50_14_from112 | the same network and state dict, takes 112 px faces and shrinks them itself |
    | btnet_r50_14_from112_area | likewise, by another interpolation than `bilinear` |

    Args:
        name: one of these; 56, 28, 14 or 7 px of any of these trunks.
        fp16: the network's forward runs under float16 autocast where there is CUDA; elsewhere no effect.
        dropout: of the IResNets, before the embedding.
        num_features: length of the embedding.

    Returns:
        Freshly initialised, in train mode; its state dict has arcface_torch's keys.

    Raises:
        ValueError: for another name, or a MobileFaceNet with dropout, which it has none of.
    """
    match = _BRANCH.fullmatch(name)
    trunk = match["trunk"] if match else name
    if trunk not in ARCFACE_TORCH_NAMES:
        raise ValueError(
            f"network {name!r} is unknown; of arcface_torch's names there are {', '.join(ARCFACE_TORCH_NAMES)}, and of "
            "branches btnet_r50_14, btnet_r50_14_from112 and the like"
        )
    if dropout and trunk.startswith("mbf"):
        raise ValueError(f"dropout {dropout}: a MobileFaceNet has none; leave it out, or take an IResNet")
    arguments: dict[str, Any] = {"dropout": dropout} if dropout else {}
    if match:
        arguments["input_size"] = int(match["resolution"])
    network = create(trunk, embedding_size=num_features, **arguments)
    for module in network.modules():
        if type(module) is Convolution:  # equal results; counters of FLOPs know torch's own classes only
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    if match and network.input_size == network.canonical_size:
        raise ValueError(f"network {name!r}: {network.input_size} px is the trunk; its name is {trunk!r}")
    if fp16:
        network.register_forward_pre_hook(_enter_float16)
        network.register_forward_hook(_leave_float16, always_call=True)
    if match and match["size"]:
        # A hook, not a module around it: the state dict stays the network's.
        interpolation = check_interpolation(match["how"] or "bilinear")
        network.register_forward_pre_hook(
            partial(_shrink, source=int(match["size"]), interpolation=interpolation)
        )
    return network


def with_btnet(theirs: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """arcface_torch's `get_model` and ours in one; at the end of its `backbones/__init__.py`.

        from btnet.interop.arcface_torch import with_btnet
        get_model = with_btnet(get_model)

    Args:
        theirs: answers all names that do not start with `btnet_`, as before.
    """

    def get_model_by_name(name: str, **kwargs: Any) -> nn.Module:
        return get_model(name, **kwargs) if name.startswith(_PREFIX) else theirs(name, **kwargs)

    return get_model_by_name


def trunk_name(network: Backbone) -> str | None:
    """arcface_torch's name of a network's architecture, the embedding's length aside; None if it has none."""
    for name in ARCFACE_TORCH_NAMES:
        with torch.device("meta"):
            named = create(name, embedding_size=network.embedding_size)
        if type(named) is type(network) and named.arch | {"dropout": 0} == network.arch | {"dropout": 0}:
            return name
    return None


def branch_name(
    trunk: str, resolution: int, *, source: int | None = None, interpolation: str = "bilinear"
) -> str:
    """Name of a branch's network, see `get_model`; `source` is the size of the faces it is given, if not its own."""
    name = f"{_PREFIX}{trunk}_{resolution}"
    if source is None:
        return name
    return f"{name}_from{source}" + ("" if interpolation == "bilinear" else f"_{interpolation}")


def _shrink(network: Backbone, args: tuple[Any, ...], *, source: int, interpolation: str) -> tuple[Tensor]:
    images: Tensor = args[0]  # torch's older exporter hands over the defaults of all other arguments as well
    if images.ndim != 4 or images.shape[-2:] != (source, source):
        raise ValueError(
            f"images of shape {list(images.shape)}: this network takes [B, 3, {source}, {source}] and makes "
            f"{network.input_size} px of it; resize them, or take the network without _from{source}"
        )
    return (resize_normalised(images, network.input_size, interpolation),)


def _enter_float16(network: nn.Module, args: Any) -> None:
    # On the module: a network runs one forward at a time in a thread, and a copy has no forward running.
    autocast = torch.autocast("cuda", torch.float16, enabled=torch.cuda.is_available())
    autocast.__enter__()  # type: ignore[no-untyped-call]
    network.__dict__["_float16"] = autocast


def _leave_float16(network: nn.Module, args: Any, output: Any) -> None:
    network.__dict__.pop("_float16").__exit__(None, None, None)
