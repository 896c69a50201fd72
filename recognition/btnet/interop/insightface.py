"""A model package of the insightface library (2.x, manifest version 2)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from btnet.backbones.backbone import Backbone
from btnet.files.atomic import replacing_together
from btnet.files.digest import sha256
from btnet.interop.onnx import export_onnx
from btnet.method.btnet import BTNet
from btnet.serving.onnx_folder import network_file

__all__ = ["MANIFEST", "export_package"]

MANIFEST: Final = "manifest.json"
# What its `norm_crop` aligns faces to, and with it `ArcFaceONNX.get(img, face)`: multiples of these, in px.
_ALIGNED: Final = (112, 128)
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

    `ArcFaceONNX.get(img, face)` aligns faces to multiples of 112 or 128 px and stops at any other size. So the file of
    a smaller network takes 112 px and shrinks them inside, as the branch's training did.

    The manifest names `MODEL.LICENSE` because it must. None is written: insightface accepts only licences it signed
    itself, and takes a package without one for non-commercial.

    Args:
        network: one network, or a BTNet of which one is chosen.
        folder: of the package, created if absent; a package that is there is replaced.
        resolution: as `btnet.interop.export_onnx`.
        input_size: of the faces, in px. Default: the network's where insightface aligns to it, else 112.
        precision: as `btnet.interop.export_onnx`.
        interpolation: as `btnet.interop.export_onnx`.

    Returns:
        The folder.

    Raises:
        ValueError: for another name, an input size that insightface does not align faces to, or as
            `btnet.interop.export_onnx`.
    """
    folder = Path(folder)
    model_id = folder.resolve().name
    if not _MODEL_ID.fullmatch(model_id):
        raise ValueError(
            f"model id {model_id!r}: insightface takes letters, digits, '.', '_' and '-', at most 128, the "
            "first a letter or digit; name the package so"
        )
    chosen = (
        network.network(resolution or input_size or network.trunk.canonical_size)
        if isinstance(network, BTNet)
        else network
    )
    if input_size is None:
        input_size = chosen.input_size if _is_aligned(chosen.input_size) else _ALIGNED[0]
    if not _is_aligned(input_size):
        raise ValueError(
            f"input size {input_size} px: insightface's ArcFaceONNX.get(img, face) aligns faces to multiples of 112 or "
            "128 px only; take 112, which the file shrinks itself"
        )
    name = f"recognition/{network_file(chosen.input_size)}"
    with replacing_together(folder, MANIFEST) as draft:
        (draft / name).parent.mkdir()
        model = export_onnx(
            network,
            draft / name,
            resolution=chosen.input_size if isinstance(network, BTNet) else resolution,
            input_size=input_size,
            precision=precision,
            interpolation=interpolation,
        )
        manifest = {
            "manifest_version": 2,
            "model_id": model_id,
            "license": "MODEL.LICENSE",
            "tasks": {
                "recognition": {
                    "file": name,
                    "input_size": [input_size, input_size],
                    "embedding_dimension": chosen.embedding_size,
                    "preprocessing": {"mean": 127.5, "std": 127.5},
                    "sha256": sha256(model),
                }
            },
        }
        (draft / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return folder


def _is_aligned(size: int) -> bool:
    return any(size > 0 and size % base == 0 for base in _ALIGNED)
