"""`btnet.json`: one manifest that leads a run folder, an ONNX bundle and a recogniser."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from btnet import __version__
from btnet.data.atomic import replacing

NAME = "btnet.json"
FORMAT_VERSION = 1


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
    manifest = {
        "format_version": FORMAT_VERSION,
        "arch": arch,
        "trunk_fingerprint": trunk_fingerprint,
        "resolutions": resolutions,
        "interpolation": interpolation,
        "versions": versions(),
        **sections,
    }
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Read the manifest of a model folder.

    Raises:
        FileNotFoundError: if the folder has none.
        ValueError: if it is no JSON, lacks an entry, or is of a newer format.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest; give the output folder of a training run")
    try:
        manifest = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    required = ("format_version", "arch", "trunk_fingerprint", "resolutions", "interpolation")
    missing = [key for key in required if not isinstance(manifest, dict) or key not in manifest]
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(missing)}; it is not a manifest of btnet")
    if manifest["format_version"] != FORMAT_VERSION:
        raise ValueError(f"{path}: format {manifest['format_version']}, this version reads {FORMAT_VERSION}")
    return dict(manifest)
