"""Stand-in: how arcface_torch opens an ONNX file, and what it asks of it."""

from __future__ import annotations

import argparse
import os
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from insightface.data import get_image
from onnx import numpy_helper


class ArcFaceORT:
    def __init__(self, model_path: str) -> None:
        self.model_path = model_path
        self.input_mean = self.input_std = 127.5

    def check(self, track: str = "cfat") -> str | None:
        [name, *_] = sorted((f for f in os.listdir(self.model_path) if f.endswith(".onnx")), reverse=True)
        path = os.path.join(self.model_path, name)
        self.session = onnxruntime.InferenceSession(path, providers=None)
        [data], [output] = self.session.get_inputs(), self.session.get_outputs()
        if not isinstance(data.shape[0], str):
            return "the batch is fixed"
        if data.shape[2:] != [112, 112]:
            return "input-size is inconsistant with onnx model input"
        self.input_name, self.output_names = data.name, [output.name]
        graph = onnx.load(path).graph
        if len(graph.node) < 8:
            return "too small onnx graph"
        starts = tuple(node.name.split("_")[0] for node in graph.node[:8])
        if "Sub" in starts and ("Mul" in starts or "Div" in starts):
            self.input_mean, self.input_std = 0.0, 1.0
        for weight in graph.initializer:
            if numpy_helper.to_array(weight).dtype.itemsize < 4:
                return f"invalid weight type - {weight.name}"
        features = self.forward([cv2.resize(get_image("Tom_Hanks_54745"), (112, 112))] * 32)
        if not np.isfinite(features).all():
            return "batch result output contains NaN!"
        self.feat_dim = features.shape[1]
        return None

    def forward(self, imgs: list[Any]) -> Any:
        blob = cv2.dnn.blobFromImages(
            imgs, 1.0 / self.input_std, (112, 112), (self.input_mean,) * 3, swapRB=True
        )
        return self.session.run(self.output_names, {self.input_name: blob})[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--track", default="cfat")
    args = parser.parse_args()
    print("err:", ArcFaceORT(args.workdir).check(args.track))
