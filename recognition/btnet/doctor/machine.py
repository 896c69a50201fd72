"""The machine: which device, dtype and number of threads follow, and what optional things are there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import torch

from btnet.doctor.finding import Finding
from btnet.training.distributed import distributed_context

COMPILERS = ("g++", "clang++")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def machine() -> Iterator[Finding]:
    """What a run without further options would use, and what is there for those that ask for more."""
    with distributed_context("", "auto") as context:
        device, precision = context.device, str(context.precision).removeprefix("torch.")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU that torch can use"
    yield Finding("device", f"{device} ({name})")
    yield Finding("precision auto", precision)
    yield Finding("threads", _threads())
    yield _optional("compile=True", "on a CPU by {}", COMPILERS, "on a CPU not possible: neither {} is there")
    yield _optional("browser tests", "by {}", BROWSERS, "skipped: neither {} is there")
    faiss = (
        "there" if find_spec("faiss") else "not there: search is exact; pip install faiss-cpu for its indexes"
    )
    yield Finding("faiss (optional)", faiss)


def _threads() -> str:
    number, cores = torch.get_num_threads(), os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS")
    return f"{number} of {cores} cores, as " + (f"OMP_NUM_THREADS={said} says" if said else "torch chooses")


def _optional(what: str, there: str, programs: tuple[str, ...], absent: str) -> Finding:
    found = next(filter(None, map(shutil.which, programs)), None)
    return Finding(what, there.format(found) if found else absent.format(" nor ".join(programs)))
