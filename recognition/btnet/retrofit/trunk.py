"""The trunk as people have it: a file of weights, an ONNX file, an insightface pack or its name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.backbones.trunk_file import load_trunk, trunk_file
from btnet.optional import extra

__all__ = ["find_trunk", "open_trunk"]

_SIZE: Final = 112


def find_trunk(named: str) -> Path:
    """The file or model folder that is meant.

    Args:
        named: a trunk's file or a folder with one, an ONNX file, a folder with insightface's models, or the name of
            such a pack in `~/.insightface/models`.

    Raises:
        FileNotFoundError: if there is no such thing.
        ValueError: if a folder holds no trunk, or several.
    """
    packs = Path.home() / ".insightface" / "models"
    path = next((each for each in (Path(named), packs / named) if each.exists()), None)
    if path is None:
        known = ", ".join(sorted(each.name for each in packs.glob("*/"))) or "none"
        raise FileNotFoundError(
            f"{named}: no such trunk; give a model.pt or backbone.pth, an ONNX file, or a folder with one of them "
            f"(insightface packs in {packs}: {known})"
        )
    if path.is_file() or trunk_file(path).is_file():
        return path
    found = [each for each in sorted(path.glob("*.onnx")) if _recognises(each)]
    if len(found) != 1:
        raise ValueError(
            f"{path}: expected one trunk in this folder, a model.pt or an ONNX file that embeds faces of {_SIZE} px; "
            f"found {', '.join(each.name for each in found) or 'none'}; name the file"
        )
    return found[0]


def open_trunk(path: Path, faces: NDArray[np.uint8] | None = None) -> Backbone:
    """Load a trunk that branches can be made for, in eval mode; it takes RGB.

    Args:
        path: from `find_trunk`.
        faces: aligned, uint8 RGB [N, 112, 112, 3]; an ONNX file needs them: its merged BatchNorms are restored.

    Raises:
        ValueError: for what holds no trunk, or one that is not made for faces of 112 px.
    """
    if path.suffix == ".onnx":
        from btnet.interop.onnx_trunk import import_onnx

        assert faces is not None
        try:
            trunk = import_onnx(path, faces, colour_order="RGB").trunk
        except ValueError:  # it does not say its range: then that of insightface's recognition models
            trunk = import_onnx(path, faces, colour_order="RGB", input_mean=127.5, input_std=127.5).trunk
    else:
        trunk = load_trunk(path)
    if not trunk.input_size == trunk.canonical_size == _SIZE:
        raise ValueError(f"{path}: takes faces of {trunk.input_size} px, expected a trunk for {_SIZE} px")
    return trunk


def _recognises(path: Path) -> bool:
    """Whether an ONNX file makes one answer of a face of 112 px; the others of a pack detect, or see other sizes."""
    with extra("onnx"):
        import onnx
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except Exception:  # whatever protobuf meets in a file that is none
        return False
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input]
    return len(graph.output) == 1 and [3, _SIZE, _SIZE] in [shape[1:] for shape in shapes]
