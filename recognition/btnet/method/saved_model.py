"""A trunk and its branches in a folder: `model.pt`, one overlay per resolution, and the manifest that lists them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk, write_weights
from btnet.method.overlay import OPTIONS, Overlay
from btnet.model_folder.manifest import read_manifest, write_manifest
from btnet.model_folder.model_files import MODEL, is_listed, model_draft, overlay_file, warn_of_orphans


class SavedModel(NamedTuple):
    """What lies in a model folder.

    Attributes:
        trunk: in eval mode.
        overlays: of the branches, in the manifest's order; all belong to this trunk.
        interpolation: how the branches' faces were made from larger ones.
    """

    trunk: Backbone
    overlays: list[Overlay]
    interpolation: str

    @property
    def resolutions(self) -> list[int]:
        """Of the branches, in px."""
        return [overlay.resolution for overlay in self.overlays]

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of a `BTNet` that the overlays fit."""
        own = {}  # what a tail shares by rule, and not here
        for overlay in self.overlays:
            by_rule = set(self.trunk.owned_keys(overlay.tail_from))
            own[overlay.resolution] = [key for key in overlay.tensors if key not in by_rule]
        found = {name: {each.resolution: getattr(each, name) for each in self.overlays} for name in OPTIONS}
        return {**found, "interpolation": self.interpolation, "own": own}


def write_model(
    folder: Path, trunk: Backbone, overlays: Iterable[Overlay], interpolation: str, **sections: Any
) -> None:
    """Write a model, all of its files or none; one that was there is replaced as a whole (`model_draft`).

    Args:
        folder: created if absent.
        trunk: or a network of one low resolution, without overlays.
        overlays: of the branches.
        interpolation: see `SavedModel`.
        sections: further entries of the manifest, such as `config`.

    Raises:
        ValueError: if an ONNX bundle lies in `folder`.
    """
    if trunk.origin:
        sections["trunk_origin"] = dict(trunk.origin)
    state = trunk.state_dict()
    resolutions = []
    with model_draft(folder) as draft:
        write_weights(draft / MODEL, state, trunk.origin)
        for overlay in overlays:
            overlay.save(draft / overlay_file(overlay.resolution))
            resolutions.append(overlay.resolution)
        write_manifest(
            draft,
            arch=trunk.arch,
            trunk_fingerprint=fingerprint(state),
            resolutions=resolutions,
            interpolation=interpolation,
            **sections,
        )


def read_model(folder: Path) -> SavedModel:
    """Read what `write_model` wrote. A branch's file that the manifest does not name is left out, with a warning.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is damaged, not the one that the manifest lists, or belongs to another trunk.
    """
    manifest = read_manifest(folder)
    trunk = load_trunk(folder)
    found = fingerprint(trunk.state_dict())
    if found != manifest["trunk_fingerprint"]:
        raise ValueError(f"{folder / MODEL} is not the trunk that the manifest names")
    overlays = []
    for resolution in manifest["resolutions"]:
        path = folder / overlay_file(resolution)
        overlay = Overlay.load(path)
        if overlay.resolution != resolution:
            raise ValueError(f"{path}: the overlay for {overlay.resolution} px; copy the whole folder again")
        overlay.check_trunk(found, str(path))
        is_listed(folder, path)
        overlays.append(overlay)
    warn_of_orphans(folder, manifest["resolutions"])
    return SavedModel(trunk, overlays, manifest["interpolation"])
