"""Backbones that others add, without an edit here: by a call, or by an entry point of their package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from torch import Tensor

from btnet.model.backbone import Backbone

__all__ = ["ENTRY_POINTS", "added_backbones", "backbone_of_others", "register_backbone"]

ENTRY_POINTS = "btnet.backbones"

_registered: dict[str, type[Backbone]] = {}


def register_backbone(name: str, backbone: type[Backbone]) -> None:
    """Make a backbone known in this process, by the name that `config.network` and `btnet model-cost` take.

    A package whose commands shall know it too states an entry point of the group `btnet.backbones` instead:

        [project.entry-points."btnet.backbones"]
        my_net = "my_package.my_net:MyNet"

    Args:
        name: another than those of `btnet.model.names.BACKBONES`. Registering it again replaces it.
        backbone: the class; its `of_state` finds it again from a file of weights.

    Raises:
        ValueError: if it is no subclass of `Backbone`.
    """
    _registered[name] = _checked(name, backbone)


def added_backbones() -> Mapping[str, type[Backbone]]:
    """Registered ones, and those of installed packages; the latter are imported by this call.

    Raises:
        ValueError: if an entry point is no subclass of `Backbone`.
    """
    installed = {entry.name: _checked(entry.name, entry.load()) for entry in entry_points(group=ENTRY_POINTS)}
    return {**installed, **_registered}


def backbone_of_others(state: Mapping[str, Tensor]) -> Backbone | None:
    """The added backbone that a state dict belongs to, freshly initialised; None if it is of none."""
    found = (backbone.of_state(state) for backbone in added_backbones().values())
    return next((network for network in found if network is not None), None)


def _checked(name: str, backbone: object) -> type[Backbone]:
    if not (isinstance(backbone, type) and issubclass(backbone, Backbone)):
        raise ValueError(
            f"backbone {name!r}: {backbone!r} is not a class that derives from btnet.model.backbone.Backbone"
        )
    return backbone
