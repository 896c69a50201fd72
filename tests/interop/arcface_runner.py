"""Run a script of an arcface_torch checkout with what it needs and this machine may lack: CUDA, MXNet, data.

    python arcface_runner.py CHECKOUT SCRIPT [ARGUMENT ...]

What is under test (networks, head, loop, scripts) is the checkout's own; replaced are its readers of training data,
packages that are not installed, what newer ones dropped, and without a GPU the calls that move tensors to one.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import scipy.interpolate
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from btnet.data import read_bin

NUM_IMAGES, NUM_CLASSES = 16, 5


def main(checkout: str, script: str, *arguments: str) -> None:
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    sys.argv = [script, *arguments]
    if script in ("train_v2.py", "eval_ijbc.py"):
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
    dataset = TensorDataset(faces.cuda(), (torch.arange(NUM_IMAGES) % NUM_CLASSES).cuda())
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
    """Packages around the networks that are not installed, or do not import as MXNet on a current NumPy."""
    replacements: dict[str, dict[str, Any]] = {
        "mxnet": {},
        "mxnet.ndarray": {},
        "torchvision": {},
        "prettytable": {},
        "menpo": {},
        "menpo.visualize": {},
        "menpo.visualize.viewmatplotlib": {"sample_colours_from_colourmap": lambda count, _: ["k"] * count},
        "pandas": {"read_csv": _read_table},
        "sklearn": {},
        "sklearn.decomposition": {},
        "sklearn.metrics": {"roc_curve": lambda *_: np.ones((3, 2)), "auc": lambda *_: 0.0},
        "sklearn.model_selection": {"KFold": _KFold},
        "sklearn.preprocessing": {"normalize": lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)},
    }
    importlib.import_module("torch._dynamo")  # before: it looks for packages by their spec, which these lack
    replaced: set[str] = set()
    for name, members in replacements.items():
        parent, _, child = name.rpartition(".")
        try:
            if parent in replaced:
                raise ImportError
            importlib.import_module(name)
        except Exception:  # whatever a package raises that is too old for the others
            replaced.add(name)
            sys.modules[name] = MagicMock(**members)
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])


def _read_table(path: str, **_: Any) -> Any:
    return MagicMock(values=np.loadtxt(path, dtype=str))


class _KFold:
    def __init__(self, n_splits: int, shuffle: bool = False) -> None:
        self.n_splits = n_splits

    def split(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for part in np.array_split(rows, self.n_splits):
            yield np.setdiff1d(rows, part), part


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
