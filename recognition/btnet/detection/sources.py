"""Detectors of others: insightface's ONNX files (SCRFD, RetinaFace) and OpenCV's YuNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.detection.detections import Detections, Find

__all__ = ["open_scrfd", "open_yunet"]

_MOST_FACES = 5000


def open_scrfd(path: Path, min_score: float) -> Find:
    """One of insightface's detectors, through insightface; it sees the image at its own size.

    Raises:
        ValueError: if insightface does not take the file, or it gives no landmarks.
    """
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
