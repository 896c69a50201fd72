"""Stand-in: what arcface_torch's IJB-C script asks of a network; writes a score per template pair."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from backbones import get_model
from numpy.typing import NDArray

from btnet.inference.alignment import crop_transform

parser = argparse.ArgumentParser()
for option in ("model-prefix", "image-path", "result-dir", "network", "job", "target"):
    parser.add_argument(f"--{option}")
parser.add_argument("--batch-size", type=int)
args = parser.parse_args()

net = get_model(args.network, dropout=0, fp16=False).cuda()
net.load_state_dict(torch.load(args.model_prefix))
model = torch.nn.DataParallel(net).eval()


def aligned(line: str) -> NDArray[np.uint8]:
    name, *numbers = line.split()
    image = cv2.imread(str(Path(args.image_path, "loose_crop", name)))
    assert image is not None
    matrix = crop_transform(np.array(numbers[:-1], float).reshape(5, 2), 112)
    return np.asarray(cv2.warpAffine(image, matrix, (112, 112))[..., ::-1], np.uint8)


meta = Path(args.image_path, "meta")
faces = np.stack([aligned(line) for line in (meta / "ijbc_name_5pts_score.txt").read_text().splitlines()])
data = torch.from_numpy(faces).permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5)
with torch.no_grad():
    features = torch.nn.functional.normalize(model(data) + model(data.flip(-1))).numpy()
templates = np.loadtxt(meta / "ijbc_face_tid_mid.txt", dtype=str)[:, 1].astype(int)
pairs = np.loadtxt(meta / "ijbc_template_pair_label.txt", dtype=int)
rows = {template: row for row, template in enumerate(templates)}
scores = [features[rows[a]] @ features[rows[b]] for a, b, _ in pairs]
out = Path(args.result_dir, args.job)
out.mkdir(parents=True, exist_ok=True)
np.save(out / "ijbc.npy", np.array(scores))
