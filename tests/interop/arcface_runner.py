"""Run a script of an arcface_torch checkout with what it needs and this machine may lack: CUDA, MXNet, data.

    python arcface_runner.py CHECKOUT SCRIPT [ARGUMENT ...]

What is under test (networks, head, loop, exporter) is the checkout's own; replaced are its readers of data sets,
what newer packages dropped, and without a GPU the calls that move tensors to one.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import scipy.interpolate
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from btnet.data import read_bin

NUM_IMAGES, NUM_CLASSES = 16, 5


def main(checkout: str, script: str, *arguments: str) -> None:
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    sys.argv = [script, *arguments]
    _replace_missing_modules()
    if not torch.cuda.is_available():
        _stay_on_the_cpu()
    scipy.interpolate.interp1d = _interp1d
    sys.modules["dataset"] = MagicMock(get_dataloader=_get_dataloader)
    if script == "train_v2.py":
        vars(importlib.import_module("eval.verification"))["load_bin"] = _load_bin
    runpy.run_path(script, run_name="__main__")


def images() -> Tensor:
    """Faces of the loop: noise, uint8 [N, 3, 112, 112]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (NUM_IMAGES, 3, 112, 112), dtype=torch.uint8, generator=generator)


def _get_dataloader(rec: str, local_rank: int, batch_size: int, *_: Any) -> DataLoader[Any]:
    faces = (images().float() / 255 - 0.5) / 0.5  # as arcface_torch's transform
    dataset = TensorDataset(faces, torch.arange(NUM_IMAGES) % NUM_CLASSES)
    return DataLoader(dataset, batch_size, sampler=DistributedSampler(dataset, shuffle=False))


def _load_bin(path: str, image_size: tuple[int, int]) -> tuple[list[Tensor], list[bool]]:
    pictures, issame = read_bin(path)
    faces = torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2)
    return [faces, faces.flip(-1)], list(issame)


def _interp1d(x: Any, y: Any, **kwargs: Any) -> Any:
    """SciPy's, for x with duplicates as `eval.verification` gives them, which it refuses by now."""
    if kwargs.get("kind") != "slinear":
        return _SCIPYS_INTERP1D(x, y, **kwargs)
    x, rows = np.unique(x, return_index=True)
    return (lambda _: y[0]) if len(x) < 2 else _SCIPYS_INTERP1D(x, y[rows], **kwargs)


_SCIPYS_INTERP1D = scipy.interpolate.interp1d


def _replace_missing_modules() -> None:
    """Readers of data sets and plots; MXNet is replaced where it is installed but does not import, too."""
    modules = {
        "mxnet": ["mxnet.ndarray"],
        "torchvision": [],
        "menpo": ["menpo.visualize", "menpo.visualize.viewmatplotlib"],
        "prettytable": [],
    }
    for name, parts in modules.items():
        try:
            importlib.import_module([name, *parts][-1])
        except (ImportError, AttributeError):
            for part in (name, *parts):
                sys.modules[part] = MagicMock(sample_colours_from_colourmap=lambda count, _: ["k"] * count)


def _stay_on_the_cpu() -> None:
    def here(self: Any, *_: Any, **__: Any) -> Any:
        return self

    class OnCpu(DistributedDataParallel):
        def __init__(self, *args: Any, device_ids: object = None, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)

    start = torch.distributed.init_process_group

    def with_gloo(*_: Any, **__: Any) -> None:
        start(
            "gloo",
            init_method=Path(os.environ["MEETING"]).as_uri(),
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )

    replaced: list[tuple[Any, str, Any]] = [
        (Tensor, "cuda", here),
        (torch.nn.Module, "cuda", here),
        (torch.cuda, "set_device", lambda _: None),
        (torch.nn.parallel, "DistributedDataParallel", OnCpu),
        (torch.distributed, "init_process_group", with_gloo),
    ]
    for owner, name, value in replaced:
        setattr(owner, name, value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
