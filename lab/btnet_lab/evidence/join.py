"""Branches that were trained alone, as one model: the folders of several runs on one trunk, joined."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from btnet.model_folder.manifest import read_manifest, write_manifest
from btnet.model_folder.model_files import MODEL, is_listed, model_draft, overlay_file

__all__ = ["join_branches"]


def join_branches(runs: Sequence[Path], output: Path, *, role: str = "phi_bt") -> Path:
    """Write a model folder with the trunk of the runs and all of their branches; files are copied as they are.

    Args:
        runs: folders that training wrote, of one trunk and interpolation, each resolution once.
        output: folder, made if it is not there.
        role: name of the joined model.

    Returns:
        The folder: `btnet.serving.loading.load_model` reads it.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the runs have different trunks or views, or two have a branch for one size.
    """
    manifests = [read_manifest(run) for run in runs]
    first = manifests[0]
    files: dict[int, Path] = {}
    for run, manifest in zip(runs, manifests, strict=True):
        for key in ("trunk_fingerprint", "interpolation"):
            if manifest[key] != first[key]:
                raise ValueError(
                    f"{run}: {key} {manifest[key][:12]}, {runs[0]} has {first[key][:12]}; join runs on one trunk"
                )
        for resolution in manifest["resolutions"]:
            if resolution in files:
                raise ValueError(
                    f"{run}: a second branch for {resolution} px beside {files[resolution].parent}; give one a size"
                )
            files[resolution] = run / overlay_file(resolution)
            is_listed(run, files[resolution])
    with model_draft(output) as draft:
        shutil.copyfile(runs[0] / MODEL, draft / MODEL)
        for path in files.values():
            shutil.copyfile(path, draft / path.name)
        write_manifest(
            draft,
            arch=first["arch"],
            trunk_fingerprint=first["trunk_fingerprint"],
            resolutions=sorted(files, reverse=True),
            interpolation=first["interpolation"],
            role=role,
        )
    return output
