"""Who this process is among how many: set up and torn down, never at import."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

# The other ranks wait while the first one verifies.
_TIMEOUT = timedelta(hours=2)
# M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of glibc's malloc.h: what steps need, and its defaults.
_MALLOC = ((-4, 0, 65536), (-1, -1, 128 << 10), (-2, 64 << 20, 128 << 10))


@dataclass(frozen=True)
class Context:
    """This process's place in the run.

    Attributes:
        rank: number of this process.
        world_size: number of processes.
        device: where it computes.
        precision: of activations under autocast; float32 means no autocast.
        memory_format: of images and convolutions.
    """

    rank: int
    world_size: int
    device: torch.device
    precision: torch.dtype
    memory_format: torch.memory_format = torch.channels_last

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def autocast(self) -> torch.autocast:
        """Compute activations in the run's precision."""
        return torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32)

    def place(self, module: nn.Module) -> None:
        """Move a module to the device, its convolutions in the memory format."""
        module.to(self.device)
        module.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes."""
        if self.world_size == 1:
            return values
        values = values.clone()
        dist.all_reduce(values)
        return values / self.world_size

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world_size == 1:
            return flag
        # On the CPU, over gloo: asking must not wait for the GPU.
        value = torch.tensor(float(flag))
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return bool(value.item())


@contextmanager
def distributed_context(
    device: str = "", precision: str = "fp32", *, channels_last: bool = True
) -> Iterator[Context]:
    """The context of a process started by torchrun, or alone.

    Args:
        device: "cpu", "cuda", or "" for cuda where there is one.
        precision: fp32, bf16, fp16 or auto (bf16 where a GPU has it, fp16 on other GPUs, fp32 on a CPU:
            there bf16 is slower).
        channels_last: memory format of images and convolutions.

    Raises:
        ValueError: for an unknown precision, or a device that is not there.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = chosen_device(device)
    if world_size > 1:
        backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        # Unless asked for --standalone or c10d, torchrun keeps one store over its restarts, in which ranks that are
        # started again would find the addresses of those that died.
        store, _, _ = next(dist.rendezvous("env://", timeout=_TIMEOUT))  # type: ignore[attr-defined]
        attempt = dist.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=attempt, rank=rank, world_size=world_size, timeout=_TIMEOUT)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    try:
        with keep_freed_memory() if chosen.type == "cpu" else nullcontext():
            yield Context(rank, world_size, chosen, _precision(precision, chosen), layout)
    finally:
        if world_size > 1:
            dist.destroy_process_group()


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let freed activations serve the next step, instead of going back to the system and coming as zeroed pages.

    A step on a CPU allocates the same few gigabytes again and again; asking the system for them took a third of
    the time of the demo's steps. Where malloc is another than glibc's, nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    for option, value, _ in _MALLOC:
        libc.mallopt(option, value)
    try:
        yield
    finally:
        for option, _, default in _MALLOC:
            libc.mallopt(option, default)
        libc.malloc_trim(0)


def chosen_device(name: str) -> torch.device:
    """Where "cpu", "cuda" or "" (cuda where there is one) computes; ValueError for what is not there."""
    kind = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device {name!r}: expected cpu or cuda; the rank chooses the GPU")
    if kind == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device 'cuda': torch finds no GPU; set device=cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    return device


def _precision(name: str, device: torch.device) -> torch.dtype:
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if name == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in known:
        raise ValueError(f"precision {name!r}: expected auto, {', '.join(known)}")
    return known[name]
