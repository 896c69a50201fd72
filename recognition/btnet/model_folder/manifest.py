"""`btnet.json`: one manifest that leads a run folder, an ONNX bundle and a recogniser."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from btnet import __version__
from btnet.files.atomic import replacing
from btnet.files.text import read_json

NAME = "btnet.json"
FORMAT_VERSION = 1
_KINDS = {"arch": dict, "trunk_fingerprint": str, "resolutions": list, "interpolation": str}


def versions() -> dict[str, str]:
    """Versions of what numbers depend on, for manifests and result files."""
    return {
        "btnet": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def write_manifest(
    folder: Path,
    *,
    arch: dict[str, Any],
    trunk_fingerprint: str,
    resolutions: list[int],
    interpolation: str,
    **sections: Any,
) -> None:
    """Write the manifest of a model folder, whole or not at all."""
    put_manifest(
        folder,
        {
            "format_version": FORMAT_VERSION,
            "arch": arch,
            "trunk_fingerprint": trunk_fingerprint,
            "resolutions": resolutions,
            "interpolation": interpolation,
            "versions": versions(),
            **sections,
        },
    )


def put_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest as it is, whole or not at all."""
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def leads_bundle(folder: Path) -> bool:
    """Whether the folder's manifest is that of an ONNX bundle; False if it has none.

    Raises:
        ValueError: if the manifest is damaged.
    """
    return (folder / NAME).is_file() and "onnx" in read_manifest(folder)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of a model folder.

    Raises:
        FileNotFoundError: if the folder has none.
        ValueError: if it is no JSON, lacks an entry, or is of a newer format.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest; give the output folder of a training run")
    manifest = read_json(path)
    missing = [key for key in ("format_version", *_KINDS) if key not in manifest]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; it is not a manifest of btnet")
    if manifest["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path}: format {str(manifest['format_version'])[:20]}, this version reads {FORMAT_VERSION}"
        )
    for key, kind in _KINDS.items():
        if not isinstance(manifest[key], kind):
            raise ValueError(f"{path}: {key} is a {type(manifest[key]).__name__}, expected a {kind.__name__}")
    if not all(type(r) is int and 0 < r < 1 << 16 for r in manifest["resolutions"]):
        raise ValueError(f"{path}: resolutions hold something else than whole numbers of px")
    files = manifest.get("files", {})
    entries = files.values() if isinstance(files, dict) else [None]
    if not all(isinstance(entry, dict) and {"bytes", "sha256"} <= set(entry) for entry in entries):
        raise ValueError(
            f"{path}: files are not listed with bytes and sha256 each; copy the whole folder again"
        )
    return manifest
