"""Stand-in: `.bin` sets through MXNet's package, accuracy over folds, and a rate through `interp1d` of repeated x."""

from __future__ import annotations

import pickle
from typing import Any

import mxnet as mx
import numpy as np
import torch
from mxnet import ndarray as nd
from scipy import interpolate
from torch import Tensor


@torch.no_grad()
def load_bin(path: str, image_size: tuple[int, int]) -> tuple[list[Tensor], list[bool]]:
    with open(path, "rb") as file:
        bins, issame = pickle.load(file)
    data = [torch.empty((len(bins), 3, *image_size)) for _ in range(2)]
    for row, encoded in enumerate(bins):
        img = mx.image.imdecode(encoded)
        if img.shape[1] != image_size[0]:
            img = mx.image.resize_short(img, image_size[0])
        img = nd.transpose(img, axes=(2, 0, 1))
        data[0][row] = torch.from_numpy(img.asnumpy())
        data[1][row] = torch.from_numpy(mx.ndarray.flip(data=img, axis=2).asnumpy())
    return data, issame


@torch.no_grad()
def test(data_set: Any, backbone: Any, batch_size: int, nfolds: int) -> tuple[float, float, float]:
    both, issame = data_set
    found = sum(
        np.concatenate(
            [backbone(((part / 255) - 0.5) / 0.5).cpu().numpy() for part in data.split(batch_size)]
        )
        for data in both
    )
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    dist = np.square(unit[0::2] - unit[1::2]).sum(1)
    same, thresholds = np.asarray(issame), np.arange(0, 4, 0.01)
    right = (dist[:, None] < thresholds) == same[:, None]
    accepted = dist[:, None] < thresholds
    accuracy, rates = [], []
    for fold in np.array_split(np.arange(len(dist)), nfolds):
        rest = np.setdiff1d(np.arange(len(dist)), fold)
        accuracy.append(right[fold, right[rest].mean(0).argmax()].mean())
        far = accepted[rest][~same[rest]].mean(0)
        f = interpolate.interp1d(far, thresholds, kind="slinear")
        rates.append((dist[fold][same[fold]] < f(1e-3)).mean())
    return float(np.mean(accuracy)), float(np.std(accuracy)), float(np.mean(rates))
