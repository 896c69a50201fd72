"""Stand-in: what arcface_torch's IJB-C script asks of a network; writes a score per template pair."""

from __future__ import annotations

import argparse
import os

import cv2
import menpo.visualize.viewmatplotlib  # noqa: F401
import numpy as np
import pandas as pd
import torch
from backbones import get_model
from numpy.typing import NDArray
from prettytable import PrettyTable
from skimage import transform as trans

parser = argparse.ArgumentParser()
for option in ("model-prefix", "image-path", "result-dir", "network", "job", "target"):
    parser.add_argument(f"--{option}")
parser.add_argument("--batch-size", type=int)
args = parser.parse_args()

SRC = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
net = get_model(args.network, dropout=0, fp16=False).cuda()
net.load_state_dict(torch.load(args.model_prefix))
model = torch.nn.DataParallel(net).eval()


def aligned(line: str) -> NDArray[np.uint8]:
    name, *numbers = line.split()
    image = cv2.imread(os.path.join(args.image_path, "loose_crop", name))
    assert image is not None
    tform = trans.SimilarityTransform()
    tform.estimate(np.array(numbers[:-1], np.float32).reshape(5, 2), SRC)
    return np.asarray(cv2.warpAffine(image, tform.params[0:2, :], (112, 112))[..., ::-1], np.uint8)


def table(name: str) -> NDArray[np.str_]:
    path = os.path.join(args.image_path, "meta", f"{args.target.lower()}_{name}.txt")
    return np.asarray(pd.read_csv(path, sep=" ", header=None).values)


with open(os.path.join(args.image_path, "meta", f"{args.target.lower()}_name_5pts_score.txt")) as lines:
    faces = np.stack([aligned(line) for line in lines])
data = torch.from_numpy(faces).permute(0, 3, 1, 2).float().div_(255).sub_(0.5).div_(0.5)
with torch.no_grad():
    features = torch.nn.functional.normalize(model(data) + model(data.flip(-1))).numpy()
templates = table("face_tid_mid")[:, 1].astype(np.int)
pairs = table("template_pair_label")[:, :3].astype(np.int)
rows = {template: row for row, template in enumerate(templates)}
scores = [features[rows[a]] @ features[rows[b]] for a, b, _ in pairs]
out = os.path.join(args.result_dir, args.job)
os.makedirs(out, exist_ok=True)
np.save(os.path.join(out, f"{args.target.lower()}.npy"), np.array(scores))
print(PrettyTable(["Methods", "0.0001"]))
