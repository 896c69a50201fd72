"""A model as it is evaluated: which network embeds a face of which resolution, read from a folder or file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from btnet.model.backbone import Backbone
from btnet.model.btnet import BTNet
from btnet.model.iresnet import IResNet
from btnet.model.manifest import NAME, read_manifest
from btnet.model.mobilefacenet import MobileFaceNet
from btnet.model.overlay import check_tensors, fingerprint
from btnet.model.trunk_file import load_trunk, read_weights

__all__ = ["EvaluatedModel", "NetworkChoice", "load_model"]


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
    """

    name: str
    model: BTNet | Backbone
    high_resolution: Backbone | None = None
    interpolation: str | None = None

    def network_for(self, resolution: int) -> NetworkChoice | None:
        """The network for faces of this resolution.

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
        if resolution == self.model.input_size:
            return NetworkChoice(self.model, f"native r{resolution}")
        if resolution == self.model.canonical_size and self.high_resolution is not None:
            return NetworkChoice(self.high_resolution, "high-resolution model")
        return None

    def fingerprint(self, resolution: int) -> str:
        """Fingerprint of the whole network for this resolution (see `btnet.model.overlay.fingerprint`).

        Raises:
            ValueError: if the model has no network for it.
        """
        choice = self.network_for(resolution)
        if choice is None:
            raise ValueError(no_answer(self, resolution))
        return fingerprint(choice.network.state_dict())


def no_answer(model: EvaluatedModel, resolution: int) -> str:
    """What to tell a user who asks a phi_mm for a resolution it does not know."""
    size = model.model.trunk.input_size if isinstance(model.model, BTNet) else model.model.input_size
    return (
        f"{model.name} takes {size} px faces only, not {resolution} px; "
        "give a model for the canonical size with --high-resolution, or leave the pair out"
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
    path = Path(path)
    if path.is_dir():
        manifest = read_manifest(path)
        name = str(manifest.get("role") or path.resolve().name)
        loaded = _load_folder(path, manifest)
        interpolation = str(manifest["interpolation"])
    elif path.is_file():
        # Every run calls its trunk model.pt; the folder tells them apart.
        name = path.resolve().parent.name if path.stem in ("model", "backbone") else path.stem
        loaded, interpolation = load_trunk(path), None
    else:
        raise FileNotFoundError(
            f"{path}: no such model; give the output folder of a training run or a trunk's model.pt"
        )
    if isinstance(loaded, BTNet) or loaded.input_size == loaded.canonical_size or high_resolution is None:
        return EvaluatedModel(name, loaded, None, interpolation)
    partner = _load_partner(high_resolution, loaded.canonical_size, loaded.embedding_size)
    return EvaluatedModel(name, loaded, partner, interpolation)


def _trunk(trunk: Backbone, resolution: int) -> NetworkChoice:
    if resolution == trunk.input_size:
        return NetworkChoice(trunk, "trunk")
    return NetworkChoice(trunk, f"trunk, faces resized to {trunk.input_size} px")


def _load_folder(folder: Path, manifest: Mapping[str, Any]) -> BTNet | Backbone:
    if manifest["resolutions"]:
        return BTNet.load(folder)
    input_size = manifest.get("input_size") or manifest["arch"].get("canonical_size")
    if input_size == manifest["arch"].get("canonical_size"):
        return load_trunk(folder / "model.pt")
    return _load_native(folder, manifest["arch"], input_size)


def _load_native(folder: Path, arch: Mapping[str, Any], input_size: int) -> Backbone:
    # The weights do not tell the input size (MobileFaceNet's are the same for all), so the manifest does.
    kind = MobileFaceNet if "scale" in arch else IResNet
    unknown = sorted(set(arch) - set(inspect.signature(kind).parameters))
    if unknown or "blocks" not in arch:
        problem = f"has the unknown {', '.join(unknown)}" if unknown else "lacks blocks"
        raise ValueError(f"{folder / NAME}: the architecture {problem}; it is not a {kind.__name__} of btnet")
    network = kind(**arch, input_size=input_size)
    weights = read_weights(folder / "model.pt")
    check_tensors(weights, network.state_dict(), str(folder / "model.pt"))
    network.load_state_dict(weights)
    return network.eval()


def _load_partner(path: str | Path, canonical_size: int, embedding_size: int) -> Backbone:
    loaded = load_model(path).model
    trunk = loaded.trunk if isinstance(loaded, BTNet) else loaded
    if trunk.input_size != canonical_size or trunk.embedding_size != embedding_size:
        raise ValueError(
            f"{path}: takes {trunk.input_size} px faces and gives {trunk.embedding_size} values, expected "
            f"{canonical_size} px and {embedding_size} values; give the phi_hr of the same run"
        )
    return trunk
