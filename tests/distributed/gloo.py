"""Run a function in several gloo processes, as torchrun would, and hand back what each returns."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn


def run_on_ranks(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """Call `function(rank, *args)` in `world_size` fresh processes that form the default process group.

    An exception in any of them ends all and is raised here with its traceback. Starting a process imports
    torch anew (seconds): put many cases into one call.

    Args:
        function: of the top level of its file, which the processes import by path.
        world_size: number of processes.
        args: picklable.

    Returns:
        What each rank returned (anything torch can save), in rank order.
    """
    file, name = inspect.getfile(function), function.__name__
    with tempfile.TemporaryDirectory() as folder:
        # a file as meeting point: no port that another test could take
        spawn(_process, args=(world_size, folder, file, name, args), nprocs=world_size)  # type: ignore[no-untyped-call]
        return [torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(world_size)]


def _process(rank: int, world_size: int, folder: str, file: str, name: str, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=Path(folder, "meeting").as_uri(),
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=60),
    )
    try:
        # by path: under pytest's importlib mode a test module has no name another process could import
        spec = importlib.util.spec_from_file_location(f"on_rank_{name}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        torch.save(getattr(module, name)(rank, *args), Path(folder, f"{rank}.pt"))
        dist.barrier()  # no rank leaves while another still talks to it
    finally:
        dist.destroy_process_group()
