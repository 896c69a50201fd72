"""Target: the resume state of a run, our own and trusted; damage must be told, not harm withstood."""

from __future__ import annotations

import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.setup import build_model
from fuzzing.documents import CONFIGS
from fuzzing.mutators import damage, damage_pickle
from fuzzing.target import Target, WrongAnswerError, plain

_KEYS = (
    "rec=synthetic:4:2", "network=iresnet", "network_args={'blocks': [1, 1, 1, 1], 'widths': [2, 2, 2, 2]}",
    "embedding_size=4", "num_workers=0", "val_targets=[]", "device=cpu",
)  # fmt: skip
_STEP = "step_000000003"


@lru_cache(maxsize=1)
def _learners() -> Any:
    context = Context(0, 1, torch.device("cpu"), torch.float32)
    config = load_config(CONFIGS / "ms1mv3_r50_hr", _KEYS)
    return build_model(config, SyntheticFaces(4, 2), context).learners, context


def _checkpoints(folder: Path) -> Checkpoints:
    learners, context = _learners()
    return Checkpoints(folder, keep=1, context=context, learners=learners, identity={"global_batch": 8})


def _make(folder: Path) -> None:
    seed = folder / _STEP
    shutil.rmtree(seed, ignore_errors=True)
    checkpoints = _checkpoints(folder)
    checkpoints.save(3)
    checkpoints.finish()


def _read(folder: Path) -> Any:
    step = _checkpoints(folder.parent).load_newest()
    if not isinstance(step, int) or step < 0:
        raise WrongAnswerError(f"{step!r} steps done")
    learners, _ = _learners()
    return step, plain(
        {f"{item.name}/{key}": value for item in learners for key, value in item.owned.items()}
    )


TARGETS = (
    Target(
        "checkpoint", _make, _read, ("*", ".metadata"),
        mutators=(damage, damage_pickle),
    ),
)  # fmt: skip
