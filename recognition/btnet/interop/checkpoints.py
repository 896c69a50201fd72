"""Trunk and branches as state dict files that arcface_torch's scripts load by a network's name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.trunk_file import write_weights
from btnet.files.atomic import refuse_existing
from btnet.interop.network_names import branch_name, trunk_name
from btnet.method.btnet import BTNet

__all__ = ["Checkpoint", "export_checkpoints", "plain_state"]


@dataclass(frozen=True)
class Checkpoint:
    """A file of `export_checkpoints`.

    Attributes:
        path: the file.
        resolution: of its network, in px.
        names: of `get_model` that load it and the size in px of the faces each takes; empty if the architecture has no
            name in arcface_torch.
    """

    path: Path
    resolution: int
    names: dict[str, int]


def export_checkpoints(
    model: BTNet | Backbone,
    folder: str | Path,
    *,
    resolutions: Iterable[int] | None = None,
    overwrite: bool = True,
) -> list[Checkpoint]:
    """Write one state dict per network, in arcface_torch's keys: the trunk as it is, branches as whole networks.

    Args:
        model: trunk and branches, or a trunk.
        folder: created if absent. Files are called as the network, `r50.pt` and `btnet_r50_14.pt`; where arcface_torch
            has no name for the architecture, `trunk.pt` and `branch_14.pt`.
        resolutions: in px; None: the trunk and every branch.
        overwrite: replace files that are there.

    Raises:
        ValueError: for a resolution without network, or as `plain_state`.
        FileExistsError: if a file is there and may not be replaced.
    """
    if isinstance(model, BTNet):
        trunk, interpolation = model.trunk, model.interpolation
        available = [trunk.canonical_size, *model.resolutions]
    else:
        trunk, interpolation = model, "bilinear"
        available = [model.input_size]
    chosen = list(available if resolutions is None else dict.fromkeys(resolutions))
    unknown = [str(r) for r in chosen if r not in available]
    if unknown:
        raise ValueError(
            f"resolutions {', '.join(unknown)}: the model has networks for {', '.join(map(str, available))} px"
        )
    states = {r: plain_state(model.network(r) if isinstance(model, BTNet) else model) for r in chosen}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = trunk_name(trunk)
    written = []
    for resolution in chosen:
        names = _names(name, resolution, trunk.canonical_size, interpolation)
        unnamed = "trunk" if resolution == trunk.canonical_size else f"branch_{resolution}"
        written.append(Checkpoint(folder / f"{next(iter(names), unnamed)}.pt", resolution, names))
    refuse_existing(*(file.path for file in written), overwrite=overwrite)
    for file in written:
        write_weights(file.path, states[file.resolution])
    return written


def plain_state(network: Backbone) -> dict[str, Tensor]:
    """State dict for code that builds a network by its architecture and input size alone.

    Raises:
        ValueError: if it enlarges its faces inside, which such code would not do.
    """
    if network.inner_size:
        raise ValueError(
            f"the network for {network.input_size} px enlarges its faces to {network.inner_size} px inside, which "
            "networks of other code do not; export it as ONNX, or leave its resolution out"
        )
    return network.state_dict()


def _names(trunk: str | None, resolution: int, canonical_size: int, interpolation: str) -> dict[str, int]:
    if trunk is None:
        return {}
    if resolution == canonical_size:
        return {trunk: canonical_size}
    shrinking = branch_name(trunk, resolution, source=canonical_size, interpolation=interpolation)
    return {branch_name(trunk, resolution): resolution, shrinking: canonical_size}
