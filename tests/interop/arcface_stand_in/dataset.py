"""Stand-in: a `train.rec` read through MXNet's package and torchvision's transforms, batches moved to the GPU."""

from __future__ import annotations

import numbers
import os
from typing import Any

import mxnet as mx
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import transforms


class Faces(Dataset[Any]):
    def __init__(self, root: str) -> None:
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5]),
            ]
        )
        paths = (os.path.join(root, "train.idx"), os.path.join(root, "train.rec"))
        self.imgrec = mx.recordio.MXIndexedRecordIO(*paths, "r")
        header, _ = mx.recordio.unpack(self.imgrec.read_idx(0))
        many = header.flag > 0
        self.imgidx = np.array(range(1, int(header.label[0])) if many else list(self.imgrec.keys))

    def __len__(self) -> int:
        return len(self.imgidx)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        header, img = mx.recordio.unpack(self.imgrec.read_idx(self.imgidx[index]))
        label = header.label if isinstance(header.label, numbers.Number) else header.label[0]
        return self.transform(mx.image.imdecode(img).asnumpy()), torch.tensor(label, dtype=torch.long)


def get_dataloader(
    rec: str, local_rank: int, batch_size: int, dali: bool, dali_aug: bool, seed: int, num_workers: int
) -> Any:
    faces = Faces(rec)
    sampler: Any = DistributedSampler(faces, shuffle=True, seed=seed)
    return DataLoader(faces, batch_size, sampler=sampler, num_workers=num_workers, drop_last=True)
