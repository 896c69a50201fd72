"""The one registry of backbones: ours, and those that others add by a call or by an entry point of their package."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet, iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.backbones.mobilefacenet import MobileFaceNet, mobilefacenet, mobilefacenet_large

ENTRY_POINTS: Final = "btnet.backbones"
ARCFACE_TORCH_NAMES: Final[dict[str, Callable[..., Backbone]]] = {
    "r18": iresnet18,
    "r34": iresnet34,
    "r50": iresnet50,
    "r100": iresnet100,
    "r200": iresnet200,
    "mbf": mobilefacenet,
    "mbf_large": mobilefacenet_large,
}
BACKBONES: Final[dict[str, Callable[..., Backbone]]] = {
    **ARCFACE_TORCH_NAMES,
    **{make.__name__: make for make in (iresnet18, iresnet34, iresnet50, iresnet100, iresnet200)},
    "mobilefacenet_large": mobilefacenet_large,
    "iresnet": IResNet,
    "mobilefacenet": MobileFaceNet,
}
"""Ours, by the names that configs take; the classes, of any depth and width, last."""

_registered: dict[str, type[Backbone]] = {}


def register_backbone(name: str, backbone: type[Backbone]) -> None:
    """Make a backbone known in this process, by the name that `config.network` and `btnet-lab model-cost` take.

    A package whose commands shall know it too states an entry point of the group `btnet.backbones` instead:

        [project.entry-points."btnet.backbones"]
        my_net = "my_package.my_net:MyNet"

    Args:
        name: another than those of `BACKBONES`. Registering it again replaces it.
        backbone: the class; its `of_state` finds it again from a file of weights.

    Raises:
        ValueError: if it is no subclass of `Backbone`, or the name is one of ours.
    """
    _registered[name] = _checked(name, backbone)


def recognise(state: Mapping[str, Tensor], input_size: int | None = None) -> Backbone | None:
    """The network that a state dict is of, freshly initialised; its values are not looked at.

    Args:
        state: without a prefix.
        input_size: px that the network takes; None: a trunk.

    Returns:
        The first with the state dict's keys and shapes; else the first whose kind claims it, so that the difference
        can be told; None if none does. Ours are asked first.

    Raises:
        ValueError, LookupError, ArithmeticError, TypeError, RuntimeError: of a kind that claims it and finds a
            contradiction, where no other does.
    """
    shapes = {key: value.shape for key, value in state.items()}
    nearest: Backbone | None = None
    problem: Exception | None = None
    for kind in kinds():
        try:
            network = kind.of_state(state)
            if network is not None and input_size not in (None, network.input_size):
                network = network.rebuild(input_size)
        except (ValueError, LookupError, ArithmeticError, TypeError, RuntimeError) as error:
            problem = problem or error
            continue
        if network is not None:
            if {key: value.shape for key, value in network.state_dict().items()} == shapes:
                return network
            nearest = nearest or network
    if nearest is None and problem is not None:
        raise problem
    return nearest


def create(name: str, **kwargs: Any) -> Backbone:
    """A freshly initialised backbone, by a name of `BACKBONES` or one that was added.

    Raises:
        ValueError: for an unknown name, or an argument that this backbone does not take.
    """
    known: dict[str, Callable[..., Backbone]] = dict(BACKBONES)
    if name not in known:
        known.update(_added())
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"network {name!r}: expected one of {', '.join(known)}{hint}")
    try:
        return known[name](**kwargs)
    except TypeError as error:
        raise ValueError(f"network {name!r}: {error}; see network_args in configs/base.py") from error


def kinds() -> Iterator[type[Backbone]]:
    """All classes; packages of others are imported when ours have not served."""
    yield from (kind for kind in BACKBONES.values() if isinstance(kind, type))
    yield from _added().values()


def _added() -> dict[str, type[Backbone]]:
    installed = {entry.name: _checked(entry.name, entry.load()) for entry in entry_points(group=ENTRY_POINTS)}
    return {**installed, **_registered}


def _checked(name: str, backbone: object) -> type[Backbone]:
    if not (isinstance(backbone, type) and issubclass(backbone, Backbone)):
        raise ValueError(
            f"backbone {name!r}: {backbone!r} is not a class that derives from btnet.backbones.backbone.Backbone"
        )
    if name in BACKBONES:
        raise ValueError(f"backbone {name!r}: is the name of one of btnet's; choose another")
    return backbone
