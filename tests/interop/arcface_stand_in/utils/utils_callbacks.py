"""Stand-in: what arcface_torch's verification callback asks of a backbone, and its line in the log."""

from __future__ import annotations

import logging
import os
from typing import Any

from eval import verification
from torch import distributed


class CallBackVerification:
    def __init__(self, val_targets: list[str], rec_prefix: str, summary_writer: Any = None) -> None:
        self.rank = distributed.get_rank()
        self.sets = {}
        for name in val_targets if self.rank == 0 else []:
            self.sets[name] = verification.load_bin(os.path.join(rec_prefix, name + ".bin"), (112, 112))

    def __call__(self, num_update: int, backbone: Any) -> None:
        if self.rank == 0 and num_update > 0:
            backbone.eval()
            for name, data_set in self.sets.items():
                acc2, std2, _ = verification.test(data_set, backbone, 10, 10)
                logging.info("[%s][%d]Accuracy-Flip: %1.5f+-%1.5f", name, num_update, acc2, std2)
            backbone.train()
