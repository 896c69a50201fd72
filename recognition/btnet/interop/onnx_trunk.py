"""An InsightFace recognition ONNX as a trunk that branches can train from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.data.views import normalise
from btnet.files.named_errors import naming
from btnet.inference.onnx_session import open_session
from btnet.interop.onnx_graph import OnnxGraph
from btnet.interop.onnx_match import match
from btnet.interop.restored_norms import restore_norms
from btnet.model.backbone import Backbone
from btnet.model.trunk_file import backbone_of

__all__ = ["ImportedTrunk", "import_onnx"]

# Of the normalised embeddings of file and trunk, on noise; float16 weights are taken as they are.
_TOLERANCES: Final = {"float32": 1e-3, "float16": 2e-2}


@dataclass(frozen=True)
class ImportedTrunk:
    """What `import_onnx` makes of a file.

    Attributes:
        trunk: in eval mode, float32, arcface_torch's keys.
        restored: names of the BatchNorms that were merged away in the file.
        difference: largest difference between the normalised embeddings of file and trunk.
    """

    trunk: Backbone
    restored: tuple[str, ...]
    difference: float


def import_onnx(path: str | Path, faces: NDArray[np.uint8] | None = None) -> ImportedTrunk:
    """Read a recognition ONNX of IResNet or MobileFaceNet kind as a trunk that branches can train from.

    Exporters merge a BatchNorm into the convolution or product before it. In eval mode nothing is lost; but a
    branch trains in train mode, where a BatchNorm normalises with the batch. Each merged one is put back, see
    `btnet.interop.restored_norms`.

    Args:
        path: float32 or float16; BatchNorms merged or not; node names do not matter.
        faces: uint8 RGB [N, S, S, 3] at the trunk's size S, aligned as the model expects; a few hundred. Not
            needed if no BatchNorm is merged.

    Returns:
        The trunk, checked against onnxruntime.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no whole ONNX file or of another kind; if faces are needed and there are none, or
            of another size.
    """
    path = Path(path)
    graph = OnnxGraph(path)
    # A damaged graph can fail in as many ways as it is read.
    with naming(path, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError):
        found = match(graph)
    if found.merged and faces is None:
        raise ValueError(
            f"{path}: {len(found.merged)} BatchNorms are merged into convolutions, and restoring them takes "
            "faces; give a few hundred, aligned as the model expects"
        )
    trunk = backbone_of(found.state, where=str(path))
    if faces is not None and found.merged:
        restore_norms(trunk, found.merged, faces)
    session = open_session(path, graph.understood())
    difference = _difference(path, session, trunk, takes_grey_levels=found.takes_grey_levels)
    if not difference < _TOLERANCES[graph.dtype]:
        raise ValueError(
            f"{path}: looks like a {type(trunk).__name__}, but embeds noise otherwise (difference "
            f"{difference:.1e}); its strides, padding or activations are not arcface_torch's"
        )
    return ImportedTrunk(trunk, tuple(found.merged), difference)


def _difference(path: Path, session: Any, trunk: Backbone, *, takes_grey_levels: bool) -> float:
    generator = torch.Generator().manual_seed(0)
    size = trunk.input_size
    levels = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    images = levels.float() if takes_grey_levels else normalise(levels)
    dtype = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
    try:
        [embedding] = session.run(None, {session.get_inputs()[0].name: images.numpy().astype(dtype)})
    except Exception as error:  # onnxruntime's errors have no other base
        raise ValueError(
            f"{path}: does not run on one {size} px face ({' '.join(str(error).split())[:300]})"
        ) from error
    with torch.no_grad():
        expected = trunk(normalise(levels)).double()
    found = torch.from_numpy(embedding).double()
    if found.shape != expected.shape:
        return float("nan")
    unit = torch.nn.functional.normalize
    return float((unit(found) - unit(expected)).abs().max())
