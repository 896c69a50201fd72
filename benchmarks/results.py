"""What every benchmark prints: the machine it ran on, its table, and the same as JSON."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from btnet.console import show, show_table
from btnet.files.atomic import replacing

Row = dict[str, Any]


def machine(device: torch.device) -> str:
    """The processor, and how much of it torch uses."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"{_cpu_name()}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def publish(title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> None:
    """Print rows with equal keys as a table."""
    text = [i for i, value in enumerate(rows[0].values()) if isinstance(value, str)]
    show_table(title, list(rows[0]), [[_text(value) for value in row.values()] for row in rows], text=text)
    for note in notes:
        show(note)


def write_json(path: Path, where: str, tables: Mapping[str, Sequence[Row]]) -> None:
    """Write the tables and the machine's name; whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"machine": where, **tables}, indent=2) + "\n")


def medians(
    functions: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int, device: torch.device
) -> dict[str, float]:
    """Median seconds of each function, all called in turn in every round: a slow minute slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(warmup + rounds):
        for name, function in functions.items():
            synchronise(device)
            start = time.perf_counter()
            function()
            synchronise(device)
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP per second of the best of ten products of square matrices."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        synchronise(device)
        start = time.perf_counter()
        a @ b
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)


def resident(field: str) -> float:
    """MB of this process: "VmRSS" now, "VmHWM" at most since `reset_high_water`.

    Raises:
        RuntimeError: elsewhere than on Linux.
    """
    path = Path("/proc/self/status")
    for line in path.read_text().splitlines() if path.is_file() else []:
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"{path} has no {field}: memory is measured on Linux only")


def reset_high_water() -> None:
    """Let "VmHWM" start anew from what is resident."""
    Path("/proc/self/clear_refs").write_text("5")


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    if "model name" not in found:
        return platform.processor() or platform.machine()
    return f"{found['model name']} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"


def _text(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
