"""A model as it is evaluated: which network embeds a face of which resolution, read from a folder or file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import NAME, read_manifest
from btnet.model_folder.model_files import MODEL, warn_of_orphans
from btnet.serving.selection import select

__all__ = ["EvaluatedModel", "NetworkChoice", "load_matched", "load_model"]


class NetworkChoice(NamedTuple):
    """The network that embeds faces of one resolution, and its name in results."""

    network: Backbone
    name: str


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """One of the models that are compared: phi_bt, phi_hr, phi_mr or phi_mm.

    Attributes:
        name: in tables and files.
        model: trunk and branches (phi_bt); a trunk (phi_hr, phi_mr); or a network trained natively for one
            resolution below the canonical one (phi_mm).
        high_resolution: the model that embeds faces of canonical size where `model` is a phi_mm.
        interpolation: how the low-resolution faces it was trained on were made, where that is recorded.
        others: where `model` is a phi_mm, those of further resolutions.
        role: that its run gave it: phi_hr, phi_mm, phi_mr, phi_bt ...; "" where none is recorded.
        rule: which network takes a face of a size that no network has for its own (see `choose`).
        forced: the network, by its resolution, that embeds every face below the canonical size; None: the rule says.
    """

    name: str
    model: BTNet | Backbone
    high_resolution: Backbone | None = None
    interpolation: str | None = None
    others: tuple[Backbone, ...] = ()
    role: str = ""
    rule: str = "ceil"
    forced: int | None = None

    @property
    def kind(self) -> str:
        """What it is: "branches" (on a trunk), "trunk", or "native" (networks of one low resolution each)."""
        if isinstance(self.model, BTNet):
            return "branches"
        return "trunk" if self.model.input_size == self.model.canonical_size else "native"

    @property
    def views(self) -> str:
        """How faces are resized for it: as it was trained, bilinear where that is not recorded."""
        return self.interpolation or "bilinear"

    @property
    def canonical_size(self) -> int:
        """Of the trunk, in px."""
        return _trunk_of(self.model).canonical_size

    @property
    def embedding_size(self) -> int:
        """Length of the embeddings."""
        return _trunk_of(self.model).embedding_size

    @property
    def native_resolutions(self) -> tuple[int, ...]:
        """Sizes in px that a network takes as they are, largest first; a native face goes to one of these."""
        if isinstance(self.model, BTNet):
            return (self.canonical_size, *self.model.resolutions)
        natives = [network.input_size for network in (self.model, *self.others)]
        if self.high_resolution is not None:
            natives.append(self.high_resolution.input_size)
        return tuple(sorted(set(natives), reverse=True))

    def to(self, device: torch.device) -> None:
        """Move all networks."""
        for network in (self.model, self.high_resolution, *self.others):
            if network is not None:
                network.to(device)

    def choose(self, size: int) -> NetworkChoice | None:
        """The network that embeds a square face of this size, as the recogniser chooses it.

        Networks of phi_mm take their own resolutions only.

        Args:
            size: of the face in px.

        Returns:
            The network and what it is called; None where this model has no answer ("-" in tables).
        """
        if self.kind == "native":
            return self.network_for(size)
        chosen = select(size, size, self.native_resolutions, rule=self.rule)
        if self.forced is not None and size < self.canonical_size:
            if self.forced not in self.native_resolutions:
                return None
            chosen = self.forced
        choice = self.network_for(chosen)
        assert choice is not None
        return choice if chosen == size else _resizing(choice)

    def network_for(self, resolution: int) -> NetworkChoice | None:
        """The network that is made for faces of this resolution, whatever the rule of serving says.

        A branch if there is one, else the trunk on faces resized to its size. A phi_mm knows its own size
        and, through phi_hr, the canonical one.

        Args:
            resolution: of the faces in px.

        Returns:
            The network and what it is called; None where this model has no answer ("-" in tables).
        """
        if isinstance(self.model, BTNet):
            if resolution in self.model.resolutions:
                return NetworkChoice(self.model.network(resolution), f"branch r{resolution}")
            return _trunk(self.model.trunk, resolution)
        if self.model.input_size == self.model.canonical_size:
            return _trunk(self.model, resolution)
        for network in (self.model, *self.others):
            if resolution == network.input_size:
                return NetworkChoice(network, f"native r{resolution}")
        if resolution == self.model.canonical_size and self.high_resolution is not None:
            return NetworkChoice(self.high_resolution, "high-resolution model")
        return None

    def fingerprint(self, resolution: int) -> str:
        """Fingerprint of the whole network for this resolution (see `btnet.backbones.state.fingerprint`).

        Raises:
            ValueError: if the model has no network for it.
        """
        choice = self.network_for(resolution)
        if choice is None:
            raise ValueError(no_answer(self, resolution))
        return fingerprint(choice.network.state_dict())


def no_answer(model: EvaluatedModel, resolution: int) -> str:
    """What to tell a user who asks a phi_mm for a resolution it does not know."""
    sizes = ", ".join(map(str, model.native_resolutions))
    return (
        f"{model.name} takes {sizes} px faces only, not {resolution} px; "
        "give phi_hr for the canonical size (`btnet evaluate --high-resolution`), or leave the pair out"
    )


def load_model(path: str | Path, *, high_resolution: str | Path | None = None) -> EvaluatedModel:
    """Load what a training run wrote, or a plain trunk file, in eval mode.

    Args:
        path: a run folder (trunk and branches, a trunk alone, or a network of one native resolution) or an
            arcface_torch `model.pt`.
        high_resolution: likewise, a trunk: embeds faces of canonical size where the model at `path` takes
            only smaller ones. Without meaning for other models.

    Returns:
        The model, named by the manifest's `role`, else by its folder or file.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, does not fit the others, or `high_resolution` is no trunk that fits.
    """
    path, role = Path(path), ""
    if path.is_dir():
        manifest = read_manifest(path)
        role = str(manifest.get("role") or "")
        name = role or path.resolve().name
        loaded = _load_folder(path, manifest)
        interpolation = str(manifest["interpolation"])
    elif path.is_file():
        loaded, interpolation = load_trunk(path), None
        name, role = _names_of_file(path, loaded)
    else:
        raise FileNotFoundError(
            f"{path}: no such model; give the output folder of a training run or a trunk's model.pt"
        )
    if isinstance(loaded, BTNet) or loaded.input_size == loaded.canonical_size or high_resolution is None:
        return EvaluatedModel(name, loaded, None, interpolation, role=role)
    partner = _load_partner(high_resolution, loaded.canonical_size, loaded.embedding_size)
    return EvaluatedModel(name, loaded, partner, interpolation, role=role)


def load_matched(paths: Iterable[str | Path], *, high_resolution: str | Path) -> EvaluatedModel:
    """Load phi_mm: one model for each low resolution, and phi_hr for the canonical one.

    Args:
        paths: run folders of networks that take one native resolution each.
        high_resolution: phi_hr.

    Returns:
        One model named "phi_mm".

    Raises:
        FileNotFoundError, ValueError: as `load_model`; or if one takes the canonical size, or two the same.
    """
    found: dict[int, EvaluatedModel] = {}
    for path in paths:
        model = load_model(path, high_resolution=high_resolution)
        if isinstance(model.model, BTNet) or model.high_resolution is None:
            raise ValueError(
                f"{path}: takes {model.canonical_size} px faces, expected a model of one smaller size"
            )
        if model.model.input_size in found:
            raise ValueError(
                f"{path}: a second model for {model.model.input_size} px; give one for each resolution"
            )
        found[model.model.input_size] = model
    if not found:
        raise ValueError("phi_mm without a model; give one for each low resolution")
    first, *rest = found.values()
    others = tuple(each.model for each in rest if isinstance(each.model, Backbone))
    return replace(first, name="phi_mm", role="phi_mm", others=others)


def _names_of_file(path: Path, trunk: Backbone) -> tuple[str, str]:
    """What a trunk's file is called in tables, and the role that the run which wrote it had."""
    folder = path.resolve().parent
    if (folder / NAME).is_file():
        manifest = read_manifest(folder)
        if manifest["trunk_fingerprint"] == fingerprint(trunk.state_dict()):
            role = str(manifest.get("role") or "")
            # A run of branches holds the trunk that was given to it.
            return (
                (f"trunk of {role or folder.name}", "")
                if manifest["resolutions"]
                else (role or folder.name, role)
            )
    # Every run calls its trunk model.pt; the folder tells them apart.
    return (folder.name if path.stem in ("model", "backbone") else path.stem), ""


def _trunk_of(model: BTNet | Backbone) -> Backbone:
    return model.trunk if isinstance(model, BTNet) else model


def _trunk(trunk: Backbone, resolution: int) -> NetworkChoice:
    choice = NetworkChoice(trunk, "trunk")
    return choice if resolution == trunk.input_size else _resizing(choice)


def _resizing(choice: NetworkChoice) -> NetworkChoice:
    return choice._replace(name=f"{choice.name}, faces resized to {choice.network.input_size} px")


def _load_folder(folder: Path, manifest: Mapping[str, Any]) -> BTNet | Backbone:
    if manifest["resolutions"]:
        return BTNet.load(folder)
    network = load_trunk(folder, input_size=manifest.get("input_size"))
    if fingerprint(network.state_dict()) != manifest["trunk_fingerprint"]:
        raise ValueError(
            f"{folder}: {MODEL} is not the network that the manifest names; copy the folder again"
        )
    warn_of_orphans(folder, ())
    return network


def _load_partner(path: str | Path, canonical_size: int, embedding_size: int) -> Backbone:
    trunk = _trunk_of(load_model(path).model)
    if trunk.input_size != canonical_size or trunk.embedding_size != embedding_size:
        raise ValueError(
            f"{path}: takes {trunk.input_size} px faces and gives {trunk.embedding_size} values, expected "
            f"{canonical_size} px and {embedding_size} values; give the phi_hr of the same run"
        )
    return trunk
