"""Stand-in: arcface_torch's IJB-C script for ONNX files; writes a score per template pair."""

from __future__ import annotations

import argparse
import os
from typing import Any

import cv2
import mxnet as mx
import numpy as np
import pandas as pd
from onnx_helper import ArcFaceORT


class Faces(mx.gluon.data.Dataset):  # type: ignore[misc]
    def __init__(self, root: str, lines: list[str]) -> None:
        self.root, self.lines = root, lines

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, idx: int) -> Any:
        return cv2.imread(os.path.join(self.root, self.lines[idx].split()[0]))  # aligned already


def main(args: argparse.Namespace) -> None:
    def table(name: str) -> Any:
        path = os.path.join(args.image_path, "meta", f"{args.target.lower()}_{name}.txt")
        return pd.read_csv(path, sep=" ", header=None).values

    with open(os.path.join(args.image_path, "meta", f"{args.target.lower()}_name_5pts_score.txt")) as lines:
        faces = Faces(os.path.join(args.image_path, "loose_crop"), lines.readlines())
    model = ArcFaceORT(model_path=args.model_root)
    model.check()
    images = [faces[i] for i in range(len(faces))]
    features = model.forward(images) + model.forward(
        [np.ascontiguousarray(image[:, ::-1]) for image in images]
    )
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    templates = table("face_tid_mid")[:, 1].astype(np.int)
    rows = {template: row for row, template in enumerate(templates)}
    scores = [
        features[rows[a]] @ features[rows[b]] for a, b, _ in table("template_pair_label").astype(np.int)
    ]
    out = os.path.join(args.model_root, f"{args.target}_result")
    os.makedirs(out, exist_ok=True)
    np.save(os.path.join(out, f"{args.target}.npy"), scores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for option in ("model-root", "image-path", "target"):
        parser.add_argument(f"--{option}")
    main(parser.parse_args())
