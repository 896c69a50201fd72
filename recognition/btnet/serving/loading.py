"""A model from the folder or file it lies in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import NAME, read_manifest
from btnet.model_folder.model_files import MODEL, warn_of_orphans
from btnet.serving.face_model import FaceModel

__all__ = ["BACKENDS", "load_matched", "load_model", "torch_device"]

BACKENDS: Final = ("torch", "onnxruntime")


def load_model(
    path: str | Path,
    backend: str = "torch",
    *,
    device: str | None = "cpu",
    high_resolution: str | Path | None = None,
) -> FaceModel:
    """Load what a training run wrote, a plain trunk file, or exported files, in eval mode.

    Args:
        path: a run folder (trunk and branches, a trunk alone, or a network of one native resolution) or an
            arcface_torch `model.pt`; with onnxruntime a run folder with ONNX files, or a folder of them.
        backend: one of `BACKENDS`.
        device: "cpu" or "cuda"; None: cuda where the backend can use one.
        high_resolution: likewise, a trunk: embeds faces of canonical size where the model at `path` takes
            only smaller ones. Without meaning for other models.

    Returns:
        The model, named by the manifest's `role`, else by its folder or file.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: for an unknown backend or device; if a file is damaged, does not fit the others, or
            `high_resolution` is no trunk that fits.
    """
    if backend == "onnxruntime":
        from btnet.serving.onnx_folder import load_onnx

        if device not in (None, "cpu"):
            raise ValueError(
                f"device {device!r}: the onnxruntime backend runs on the CPU; take backend torch"
            )
        return load_onnx(Path(path))
    if backend != "torch":
        raise ValueError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
    where = torch_device(device)
    model = _load(Path(path))
    if model.matched and high_resolution is not None:
        partner = _load_partner(high_resolution, model)
        model = replace(model, networks={model.canonical_size: partner, **model.networks})
    model.to(where)
    return model


def load_matched(paths: Iterable[str | Path], *, high_resolution: str | Path) -> FaceModel:
    """Load phi_mm: one model for each low resolution, and phi_hr for the canonical one.

    Args:
        paths: run folders of networks that take one native resolution each.
        high_resolution: phi_hr.

    Returns:
        One model named "phi_mm".

    Raises:
        FileNotFoundError, ValueError: as `load_model`; or if one takes the canonical size, or two the same.
    """
    found: dict[int, FaceModel] = {}
    for path in paths:
        model = load_model(path, high_resolution=high_resolution)
        if not model.matched:
            raise ValueError(
                f"{path}: takes {model.canonical_size} px faces, expected a model of one smaller size"
            )
        size = min(model.resolutions)
        if size in found:
            raise ValueError(f"{path}: a second model for {size} px; give one for each resolution")
        found[size] = model
    if not found:
        raise ValueError("phi_mm without a model; give one for each low resolution")
    networks = {size: network for model in found.values() for size, network in model.networks.items()}
    networks = dict(sorted(networks.items(), reverse=True))
    first = next(iter(found.values()))
    return replace(first, name="phi_mm", role="phi_mm", networks=networks)


def torch_device(name: str | None) -> torch.device:
    """The device of this name; None: cuda where there is one.

    Raises:
        ValueError: for a name that torch does not know, or cuda where there is none.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is unknown to torch; give cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device here; give cpu")
    return device


def _load(path: Path) -> FaceModel:
    if path.is_dir():
        manifest = read_manifest(path)
        role = str(manifest.get("role") or "")
        module = _load_folder(path, manifest)
        interpolation = str(manifest["interpolation"])
        return FaceModel.of(module, role or path.resolve().name, interpolation=interpolation, role=role)
    if path.is_file():
        trunk = load_trunk(path)
        name, role = _names_of_file(path, trunk)
        return FaceModel.of(trunk, name, role=role)
    raise FileNotFoundError(
        f"{path}: no such model; give the output folder of a training run or a trunk's model.pt"
    )


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


def _load_partner(path: str | Path, model: FaceModel) -> Backbone:
    other = load_model(path)
    trunk = other.networks.get(model.canonical_size)
    if not isinstance(trunk, Backbone) or trunk.embedding_size != model.embedding_size:
        raise ValueError(
            f"{path}: takes {', '.join(map(str, other.resolutions))} px faces and gives {other.embedding_size} values, "
            f"expected {model.canonical_size} px and {model.embedding_size} values; give the phi_hr of the same run"
        )
    return trunk
