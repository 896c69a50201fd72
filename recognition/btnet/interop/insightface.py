"""A model package of the insightface library (2.x, manifest version 2), which reads networks of any size."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Final

from btnet.files.digest import sha256
from btnet.interop.onnx import export_onnx
from btnet.model.backbone import Backbone
from btnet.model.btnet import BTNet

__all__ = ["export_package"]

_MANIFEST: Final = "manifest.json"
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def export_package(
    network: Backbone | BTNet,
    folder: str | Path,
    *,
    resolution: int | None = None,
    input_size: int | None = None,
    precision: str = "fp32",
    interpolation: str | None = None,
) -> Path:
    """Write a folder that `insightface.model_zoo.get_model(folder, model_task="recognition")` loads.

    insightface knows a recognition model by its input of 112 px or more; told by the manifest, it takes any.
    The manifest names `MODEL.LICENSE` because it must; none is written: insightface accepts only licences it
    signed itself, and takes a package without one for non-commercial.

    Args:
        network: one network, or a BTNet of which one is chosen.
        folder: of the package, created if absent; files of the same names are replaced.
        resolution: as `btnet.interop.export_onnx`, and likewise
        input_size: of the faces,
        precision: of the weights, and
        interpolation: of the resizing.

    Returns:
        The folder.

    Raises:
        ValueError: for another name, or as `btnet.interop.export_onnx`.
    """
    folder = Path(folder)
    model_id = folder.resolve().name
    if not _MODEL_ID.fullmatch(model_id):
        raise ValueError(
            f"model id {model_id!r}: insightface takes letters, digits, '.', '_' and '-', at most 128, the "
            "first a letter or digit; name the package so"
        )
    (folder / "recognition").mkdir(parents=True, exist_ok=True)
    chosen = (
        network.network(resolution or input_size or network.trunk.canonical_size)
        if isinstance(network, BTNet)
        else network
    )
    name = f"recognition/embed_r{chosen.input_size}.onnx"
    with tempfile.TemporaryDirectory(prefix=".package-", dir=folder) as temporary:
        # Manifest and model belong together by the digest: neither takes its place before both are there.
        model = export_onnx(
            network,
            Path(temporary) / "model.onnx",
            resolution=resolution,
            input_size=input_size,
            precision=precision,
            interpolation=interpolation,
        )
        size = chosen.input_size if input_size is None else input_size
        manifest = {
            "manifest_version": 2,
            "model_id": model_id,
            "license": "MODEL.LICENSE",
            "tasks": {
                "recognition": {
                    "file": name,
                    "input_size": [size, size],
                    "embedding_dimension": chosen.embedding_size,
                    "preprocessing": {"mean": 127.5, "std": 127.5},
                    "sha256": sha256(model),
                }
            },
        }
        draft = Path(temporary) / _MANIFEST
        draft.write_text(json.dumps(manifest, indent=2) + "\n")
        model.replace(folder / name)
        draft.replace(folder / _MANIFEST)
    return folder
