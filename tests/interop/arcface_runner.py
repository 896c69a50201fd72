"""Run scripts of an arcface_torch checkout on a machine without a GPU, and without packages around its networks.

    python arcface_runner.py CHECKOUT SCRIPT [ARGUMENT ...]
    python arcface_runner.py CHECKOUT     runs the commands that stdin names, and answers [printed, ended well] to each

All of the checkout's own code runs as it stands: networks, head, loop, scheduler, readers, scripts. Replaced are only
packages that are not installed, by small ones that do the same, and, where there is no CUDA, its calls.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import runpy
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def main(checkout: str, *command: str) -> None:
    os.chdir(checkout)
    sys.path.insert(0, checkout)
    _replace_missing_packages()
    if not torch.cuda.is_available():
        _stay_on_the_cpu()
    if command:
        run(command)
        return
    for line in sys.stdin:
        printed = io.StringIO()
        ended_well = True
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                run(json.loads(line))
            except BaseException:
                traceback.print_exc()
                ended_well = False
        print(json.dumps([printed.getvalue(), ended_well]), flush=True)


def run(command: Sequence[str]) -> None:
    sys.argv = list(command)
    runpy.run_path(command[0], run_name="__main__")


class _Compose(list[Callable[[Any], Any]]):
    def __call__(self, image: Any) -> Any:
        for step in self:
            image = step(image)
        return image


class _Transform:
    """One of torchvision's transforms, as far as the loop's faces go; without a random mirror."""

    def __init__(self, **_: Any) -> None: ...

    def __call__(self, image: Any) -> Any:
        return image


class _ToTensor(_Transform):
    def __call__(self, image: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


class _Normalize(_Transform):
    def __call__(self, image: Tensor) -> Tensor:
        return (image - 0.5) / 0.5


_SMALL_ONES: dict[str, dict[str, Any]] = {
    "torchvision": {},
    "torchvision.transforms": {
        "Compose": _Compose,
        "ToPILImage": _Transform,
        "RandomHorizontalFlip": _Transform,
        "ToTensor": _ToTensor,
        "Normalize": _Normalize,
    },
    "torchvision.datasets": {"ImageFolder": None},
    "prettytable": {"PrettyTable": lambda _: MagicMock()},
    "menpo": {},
    "menpo.visualize": {},
    "menpo.visualize.viewmatplotlib": {"sample_colours_from_colourmap": lambda count, _: ["k"] * count},
}


def _replace_missing_packages() -> None:
    importlib.import_module("torch._dynamo")  # before: it looks for packages by their spec, which these lack
    replaced: set[str] = set()
    for name, members in _SMALL_ONES.items():
        parent, _, child = name.rpartition(".")
        if parent not in replaced:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
                continue
        module = types.ModuleType(name)
        vars(module).update(members)
        sys.modules[name] = module
        replaced.add(name)
        if parent:
            setattr(sys.modules[parent], child, module)


def _stay_on_the_cpu() -> None:
    def here(self: Any, *_: Any, **__: Any) -> Any:
        return self

    def on_the_cpu(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            return call(*args, **kwargs | ({"device": "cpu"} if "device" in kwargs else {}))

        return called

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
        (Tensor, "to", on_the_cpu(Tensor.to)),
        (torch, "tensor", on_the_cpu(torch.tensor)),
        (torch.nn.Module, "cuda", here),
        (torch.cuda, "set_device", lambda _: None),
        (torch.cuda, "Stream", MagicMock()),
        (torch.cuda, "stream", contextlib.nullcontext),
        (torch.cuda, "current_stream", MagicMock()),
        (torch.nn.parallel, "DistributedDataParallel", OnCpu),
        (torch.distributed, "init_process_group", with_gloo),
    ]
    for owner, name, value in replaced:
        setattr(owner, name, value)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
