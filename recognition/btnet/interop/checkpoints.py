"""Whole networks as state dict files: those that arcface_torch loads by name, and those of the BTNet authors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import check_tensors
from btnet.backbones.trunk_file import backbone_of, read_weights, write_weights
from btnet.files.atomic import refuse_existing
from btnet.interop.network_names import branch_name, trunk_name
from btnet.method.btnet import BTNet

__all__ = ["Checkpoint", "ImportedAuthors", "export_authors", "export_checkpoints", "import_authors"]


@dataclass(frozen=True)
class Checkpoint:
    """A file of `export_checkpoints`.

    Attributes:
        path: the file.
        resolution: of its network, in px.
        names: of `get_model` that load it, with the size in px of the faces each takes; empty if arcface_torch has no
            name for the architecture.
    """

    path: Path
    resolution: int
    names: dict[str, int]


@dataclass(frozen=True, eq=False)
class ImportedAuthors:
    """What `import_authors` makes of the authors' files.

    Attributes:
        model: trunk and branches, in eval mode.
        differing: by resolution, the parameters behind the coupling layer that are not the trunk's in that file,
            and the largest absolute difference. The branch keeps its own.
        untrained: resolutions whose coupling layer is the trunk's to the bit: the file of a larger resolution?
    """

    model: BTNet
    differing: dict[int, dict[str, float]]
    untrained: tuple[int, ...]


def export_checkpoints(
    model: BTNet | Backbone,
    folder: str | Path,
    *,
    resolutions: Iterable[int] | None = None,
    overwrite: bool = True,
) -> list[Checkpoint]:
    """Write one state dict per network, in arcface_torch's keys: the trunk as it is, branches as whole networks.

    Files are called as the network, `r50.pt` and `btnet_r50_14.pt`, or `trunk.pt` and `branch_14.pt` where
    arcface_torch has no name for the architecture.

    Args:
        model: trunk and branches, or a trunk.
        folder: created if absent.
        resolutions: in px; None: the trunk and every branch.
        overwrite: replace files that are there.

    Raises:
        ValueError: for a resolution without network, or a network that enlarges its faces inside.
        FileExistsError: if a file is there and may not be replaced.
    """
    networks = _networks(model)
    chosen = list(dict.fromkeys(networks if resolutions is None else resolutions))
    if unknown := [str(r) for r in chosen if r not in networks]:
        raise ValueError(
            f"resolutions {', '.join(unknown)}: the model has networks for {', '.join(map(str, networks))} px"
        )
    trunk = model.trunk if isinstance(model, BTNet) else model
    interpolation = model.interpolation if isinstance(model, BTNet) else "bilinear"
    canonical, name = trunk.canonical_size, trunk_name(trunk)
    files = []
    for r in chosen:
        names: dict[str, int] = {}
        if name and r == canonical:
            names = {name: canonical}
        elif name:
            shrinking = branch_name(name, r, source=canonical, interpolation=interpolation)
            names = {branch_name(name, r): r, shrinking: canonical}
        unnamed = "trunk" if r == canonical else f"branch_{r}"
        files.append(Checkpoint(Path(folder, f"{next(iter(names), unnamed)}.pt"), r, names))
    _write({file.path: networks[file.resolution] for file in files}, overwrite=overwrite)
    return files


def export_authors(model: BTNet, folder: str | Path, *, overwrite: bool = True) -> dict[int, Path]:
    """Write trunk and branches as the authors do: a whole network per resolution, `reso14/model.pt`.

    Args:
        model: of any origin; a branch whose tail starts elsewhere than the paper's is written as it is.
        folder: created if absent.
        overwrite: replace files that are there.

    Returns:
        The file by resolution in px.

    Raises:
        ValueError: for a network that enlarges its faces inside.
        FileExistsError: if a file is there and may not be replaced.
    """
    networks = _networks(model)
    paths = {resolution: Path(folder, f"reso{resolution}", "model.pt") for resolution in networks}
    _write({paths[resolution]: network for resolution, network in networks.items()}, overwrite=overwrite)
    return paths


def import_authors(
    trunk: str | Path, networks: Mapping[int, str | Path], *, interpolation: str = "bilinear"
) -> ImportedAuthors:
    """Read a trunk's `model.pt` and the `model.pt` of each resolution's network.

    A file does not say its resolution: the networks for 56, 28, 14 and 7 px have the same keys and shapes. What a
    branch owns is decided by structure (`Backbone.owned_keys`); values are compared in the rest only. There the
    files hold copies of the trunk, which may differ in places: such tensors become the branch's own.

    Args:
        trunk: file of the network for 112 px.
        networks: file by resolution in px.
        interpolation: how the faces these branches were trained on were made; the authors' code: bilinear.

    Returns:
        Trunk and branches whose `full_state_dict(r)` equals the files to the byte.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a file holds no such network, or not in float32, or shares nothing with the trunk.
    """
    base = backbone_of(_read(trunk), where=str(trunk))
    states = {resolution: _read(path) for resolution, path in networks.items()}
    differing = {r: _differing(base, r, state, str(networks[r])) for r, state in states.items()}
    model = BTNet(base, states, interpolation=interpolation, own=differing)
    for resolution, state in states.items():
        overlay = model.overlay(resolution)
        model.load_overlay(replace(overlay, tensors={key: state[key] for key in overlay.tensors}))
    untrained = tuple(r for r, state in states.items() if _is_untrained(base, r, state))
    return ImportedAuthors(model.eval(), differing, untrained)


def _networks(model: BTNet | Backbone) -> dict[int, Backbone]:
    if not isinstance(model, BTNet):
        return {model.input_size: model}
    return {r: model.network(r) for r in (model.trunk.canonical_size, *model.resolutions)}


def _write(networks: Mapping[Path, Backbone], *, overwrite: bool) -> None:
    for network in networks.values():
        if network.inner_size:
            raise ValueError(
                f"the network for {network.input_size} px enlarges its faces to {network.inner_size} px inside, "
                "which networks of other code do not; export it as ONNX, or leave its resolution out"
            )
    refuse_existing(*networks, overwrite=overwrite)
    for path, network in networks.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_weights(path, network.state_dict())


def _read(path: str | Path) -> dict[str, Tensor]:
    state = dict(read_weights(path))
    for key, value in state.items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(
                f"{path}: {key} is {value.dtype}, expected torch.float32 as the authors save it; "
                "an overlay stores float32, so another type would not come back as it was"
            )
    return state


def _differing(trunk: Backbone, resolution: int, state: Mapping[str, Tensor], where: str) -> dict[str, float]:
    """Parameters of the tail, BatchNorms aside, that are not the trunk's; with the largest difference."""
    with torch.device("meta"):
        model = BTNet(trunk.rebuild(trunk.canonical_size), (resolution,))
    network = model.network(resolution)
    check_tensors(state, network.state_dict(), f"{where}, read as the network for {resolution} px,")
    shared = network.shared_parameters(model.tail_from[resolution])
    expected = trunk.state_dict()
    found = {key: state[key] for key in shared if not _same_bytes(state[key], expected[key])}
    if len(found) == len(shared):
        raise ValueError(
            f"{where}: shares no parameter behind {trunk.coupling_layer(resolution)} with the trunk; it was made "
            f"from another trunk, or it is the network of a smaller resolution than {resolution} px"
        )
    return {key: float((value - expected[key]).abs().max()) for key, value in found.items()}


def _is_untrained(trunk: Backbone, resolution: int, state: Mapping[str, Tensor]) -> bool:
    coupling = trunk.coupling_layer(resolution)
    [modules] = [unit.modules for unit in trunk.units() if unit.name == coupling]
    own = trunk.state_dict()
    keys = [key for key in state if key.startswith(tuple(f"{name}." for name in modules)) and key in own]
    return all(_same_bytes(state[key], own[key]) for key in keys if own[key].ndim > 1)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    # by bits: 0.0 and -0.0 are equal numbers, and NaN equals nothing
    return torch.equal(one.contiguous().view(torch.uint8), other.detach().contiguous().view(torch.uint8))
