"""Pictures of scikit-image, and networks in the formats of YuNet and SCRFD to which bright 8 px squares are faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import skimage.data
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from btnet.images.codec import decode_image

# From the corner of the square, in units of its side: eyes, nose, corners of the mouth.
POINTS = np.array([[0.2, 0.3], [0.8, 0.3], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]], np.float32)


def picture(name: str) -> NDArray[np.uint8]:
    """One that scikit-image brings along: "astronaut" (NASA's portrait of Eileen Collins), "coffee"."""
    return decode_image((Path(skimage.data.__file__).parent / f"{name}.png").read_bytes(), name)


def write_yunet(path: Path) -> Path:
    """cls, obj, bbox, kps, each at three strides; values in units of the stride, relative to the cell's corner."""
    box = [0.5, 0.5, 0.0, 0.0]
    heads = [("cls", None), ("obj", None), ("bbox", box), ("kps", POINTS.ravel().tolist())]
    return _write(
        path, [(f"{kind}_{stride}", stride, values) for kind, values in heads for stride in (8, 16, 32)]
    )


def write_scrfd(path: Path, *, with_points: bool = True) -> Path:
    """Scores, boxes as distances to the four sides, landmarks, each at three strides with two anchors a cell."""
    heads = [("score", None), ("bbox", [0.0, 0.0, 1.0, 1.0]), ("kps", POINTS.ravel().tolist())]
    return _write(
        path,
        [
            (f"{kind}_{stride}", stride, values and [*values, *values])
            for kind, values in heads[: 2 + with_points]
            for stride in (8, 16, 32)
        ],
        anchors=2,
    )


def _write(path: Path, heads: list[tuple[str, int, list[float] | None]], anchors: int = 1) -> Path:
    nodes, weights, outputs = [], [], []
    for name, stride, values in heads:
        # A score is the mean brightness of the cell at stride 8, 0 at the others; the rest are constants.
        channels = anchors if values is None else len(values)
        share = 1 / (3 * stride**2) if values is None and stride == 8 else 0.0
        kernel = np.full((channels, 3, stride, stride), share, np.float32)
        bias = np.array(values if values else [0.0] * channels, np.float32)
        shape = np.array(
            [1, -1, channels // anchors] if anchors == 1 else [-1, channels // anchors], np.int64
        )
        weights += [
            numpy_helper.from_array(value, f"{name}_{what}")
            for what, value in (("kernel", kernel), ("bias", bias), ("shape", shape))
        ]
        nodes += [
            helper.make_node(
                "Conv",
                ["input", f"{name}_kernel", f"{name}_bias"],
                [f"{name}_map"],
                kernel_shape=[stride, stride],
                strides=[stride, stride],
            ),
            helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
            helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
        ]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape)))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "detector", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path
