"""Stand-in: what arcface_torch's verification callback asks of a backbone, and a score."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn

verification = importlib.import_module("eval.verification")


class CallBackVerification:
    def __init__(self, val_targets: list[str], rec_prefix: str, summary_writer: object = None) -> None:
        self.sets = {}
        if distributed.get_rank() == 0:
            for name in val_targets:
                self.sets[name] = verification.load_bin(str(Path(rec_prefix, f"{name}.bin")), (112, 112))

    def __call__(self, num_update: int, backbone: nn.Module) -> None:
        backbone.eval()
        for name, (data_list, issame) in self.sets.items():
            with torch.no_grad():
                found = sum(backbone(((data / 255) - 0.5) / 0.5) for data in data_list)
            unit = torch.nn.functional.normalize(torch.as_tensor(found))
            score = (unit[0::2] * unit[1::2]).sum(dim=1).numpy()
            accuracy = max(np.mean((score > t) == np.asarray(issame)) for t in score)
            logging.info("[%s][%d]Accuracy-Flip: %1.5f", name, num_update, accuracy)
        backbone.train()
