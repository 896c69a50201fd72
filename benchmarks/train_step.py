"""A training step's time and memory beside a plain transcription of the reference recipe.

    python benchmarks/train_step.py                          all cases this machine can run
    python benchmarks/train_step.py --only r14               r14, joint, memory or gpu
    python benchmarks/train_step.py --allocator glibc        with the C library's usual memory handling

Our step is the package's own: a config, `build_model`, `Step`. The reference is `reference_step.py`, which gets its
views ready made where our step makes them. Both are called in turn in one process; figures are medians, and
ratios are of medians. Before anything is timed, both must put out the same loss for the same batch.

On Linux the script starts itself again with glibc told to keep freed memory (`--allocator heap`). Otherwise the
reference's maps of 112 px, 103 MB each, are returned to the system and faulted in again in every layer, which makes
its teacher half of its time; kept, its parts stand in the proportions that the recipe is known by.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from compared_steps import QUICK, Bench, Setting, check_same_work
from reference_step import RECORDED_SECONDS, ReferenceStep
from results import (
    Row,
    machine,
    matmul_peak,
    medians,
    publish,
    reset_high_water,
    resident,
    synchronise,
    write_json,
)

CASES = ("r14", "joint", "memory", "gpu")
# glibc then serves every request from the heap, and never shrinks it
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
# glibc then returns every larger block as soon as it is free, so that resident memory is memory in use
_RETURN_MEMORY = {
    "MALLOC_MMAP_MAX_": str(1 << 16),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 16),
    "MALLOC_TRIM_THRESHOLD_": "0",
}


def single_branch(bench: Bench) -> dict[str, list[Row]]:
    """Case r14: one branch, our step eager and compiled, with and without a teacher cache."""
    r, device = bench.setting.branch, bench.device
    reference, run_reference = bench.reference(r)
    steps = {"ours": bench.ours([r])[0], "ours, compiled": bench.ours([r], compiled=True)[0]}
    steps |= {f"{name}, teacher cached": bench.with_cache(step) for name, step in steps.items()}
    steps["ours, compiled, bf16"] = bench.ours([r], compiled=True, precision="bf16")[0]
    runs: dict[str, Callable[[], object]] = {"reference": run_reference}
    runs |= {name: bench.apply(step) for name, step in steps.items()}
    seconds = medians(runs, rounds=bench.setting.rounds, warmup=bench.setting.warmup, device=device)
    flops = {name: _flops(run) for name, run in runs.items() if "compiled" not in name}
    rows = _rows(seconds, bench.setting.batch_size, seconds["reference"], _targets(0.48, 0.40))
    for row in rows:
        count = flops[str(row["step"]).replace(", compiled", "").replace(", bf16", "")]
        row |= {"GFLOP": count / 1e9, "GFLOP/s": count / 1e9 / row["seconds"]}
    return {f"branch of {r} px": rows, "parts of the reference": _parts(reference, bench.setting.rounds)}


def joint(bench: Bench) -> dict[str, list[Row]]:
    """Case joint: several branches in one run beside separate reference runs."""
    branches = bench.setting.branches
    runs: dict[str, Callable[[], object]] = {f"reference {r}": bench.reference(r)[1] for r in branches}
    runs["ours"] = bench.apply(bench.ours(branches)[0])
    runs["ours, compiled"] = bench.apply(bench.ours(branches, compiled=True)[0])
    # one round takes as long as many of a single branch
    rounds = max(2, bench.setting.rounds // 2)
    seconds = medians(runs, rounds=rounds, warmup=bench.setting.warmup, device=bench.device)
    total = sum(seconds[f"reference {r}"] for r in branches)
    seconds = {"three reference runs": total} | seconds
    rows = _rows(seconds, bench.setting.batch_size, total, {"ours": 0.45, "ours, compiled": 0.45})
    return {f"branches of {branches} px together": rows}


def memory(bench: Bench, quick: bool) -> dict[str, list[Row]]:
    """Case memory: each step in a process of its own."""
    rows: list[Row] = []
    for name in ("reference", "ours", "ours, compiled"):
        command = [sys.executable, __file__, "--memory-of", name, *(["--quick"] if quick else [])]
        command += ["--threads", str(torch.get_num_threads())]
        out = subprocess.run(
            command, env=os.environ | _RETURN_MEMORY, check=True, capture_output=True, text=True
        ).stdout
        state, step = (float(text) for text in out.split()[-2:])
        rows.append({"step": name, "state MB": state, "step MB": step, "peak MB": state + step})
    for row in rows:
        row["ratio"] = row["peak MB"] / rows[0]["peak MB"]
        row["target"] = "" if row is rows[0] else "0.6"
    return {f"memory, branch of {bench.setting.branch} px": rows}


def memory_of(bench: Bench, name: str) -> tuple[float, float]:
    """MB held between steps (counted: parameters, buffers, momentum, centres) and MB a step adds to it (measured).

    The latter is the growth of the resident set's high-water mark over its size before the step.
    """
    r = bench.setting.branch
    run: Callable[[], object]
    if name == "reference":
        reference, run = bench.reference(r)
        model: nn.Module = nn.ModuleList([reference.teacher, reference.student])
        learnt, centres = reference.learnt, reference.centres
    else:
        step, model = bench.ours([r], compiled="compiled" in name)
        run, learner = bench.apply(step), step.learners[0]
        assert learner.classifier is not None
        learnt, centres = list(learner.learnt.values()), learner.classifier.weight
    held = {t.data_ptr(): t.nbytes for t in [*model.parameters(), *model.buffers()]}
    state = sum(held.values()) + sum(p.nbytes for p in learnt) + centres.nbytes
    for _ in range(2):
        run()
    for p in learnt:
        p.grad = None
    before = resident("VmRSS")
    reset_high_water()
    run()
    return state / 1e6, resident("VmHWM") - before


def gpu(bench: Bench) -> dict[str, list[Row]]:
    """Case gpu: images per second, share of the matrix peak, and where the time goes."""
    torch.backends.cudnn.benchmark = True
    peak = matmul_peak(bench.device, torch.bfloat16, 8192)
    rows: list[Row] = []
    tops: list[Row] = []
    for batch_size in (128, 256, 512):
        setting = dataclasses.replace(bench.setting, batch_size=batch_size)
        sized = Bench(setting, bench.folder, bench.device)
        for branches in ((setting.branch,), setting.branches):
            runs: dict[str, Callable[[], object]] = {
                f"reference {r}": sized.reference(r)[1] for r in branches
            }
            flops = _flops(sized.apply(sized.ours(branches)[0]))
            runs["ours"] = sized.apply(sized.ours(branches, compiled=True)[0])
            seconds = medians(runs, rounds=20, warmup=10, device=bench.device)
            total = sum(value for name, value in seconds.items() if name != "ours")
            rows.append(
                {
                    "branches": ", ".join(map(str, branches)),
                    "batch": batch_size,
                    "reference images/s": batch_size / total,
                    "our images/s": batch_size / seconds["ours"],
                    "times": total / seconds["ours"],
                    "of the bf16 matrix peak": flops / seconds["ours"] / peak,
                }
            )
            tops += _top_kernels(runs["ours"], f"{branches}, {batch_size}", bench.device)
            torch.cuda.empty_cache()
    return {"images/s on the GPU, at least 3 times the reference's": rows, "its longest kernels": tops}


def _targets(plain: float, cached: float) -> dict[str, float]:
    names = ("ours", "ours, compiled")
    return dict.fromkeys(names, plain) | {f"{name}, teacher cached": cached for name in names}


def _rows(seconds: dict[str, float], batch_size: int, base: float, targets: dict[str, float]) -> list[Row]:
    return [
        {
            "step": name,
            "seconds": value,
            "images/s": batch_size / value,
            "ratio": value / base,
            "target": str(targets.get(name, "")),
        }
        for name, value in seconds.items()
    ]


def _parts(reference: ReferenceStep, rounds: int) -> list[Row]:
    seconds = {
        name: float(torch.tensor(values[-rounds:]).median()) for name, values in reference.seconds.items()
    }
    total, recorded_total = sum(seconds.values()), sum(RECORDED_SECONDS.values())
    return [
        {
            "part": name,
            "seconds": value,
            "share": value / total,
            "recorded share": RECORDED_SECONDS[name] / recorded_total,
            "of recorded": value / total * recorded_total / RECORDED_SECONDS[name],
        }
        for name, value in seconds.items()
    ]


def _flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _top_kernels(run: Callable[[], object], what: str, device: torch.device) -> list[Row]:
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        run()
        synchronise(device)
    events = sorted(found.key_averages(), key=lambda e: e.self_device_time_total, reverse=True)[:6]
    total = sum(e.self_device_time_total for e in found.key_averages())
    return [
        {"case": what, "kernel": e.key[:60], "share": e.self_device_time_total / total, "calls": e.count}
        for e in events
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases and print their tables."""
    options = _parse(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(options.threads)
    setting = QUICK if options.quick else Setting()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(setting, Path(folder), device)
        if options.memory_of:
            print(*memory_of(bench, options.memory_of))
            return
        where = machine(device)
        print(where)
        if device.type == "cpu":  # in half precision equal losses are no proof
            check_same_work(bench, setting.branch, tolerance=1e-3)
        cases: dict[str, Callable[[], dict[str, list[Row]]]] = {
            "r14": lambda: single_branch(bench),
            "joint": lambda: joint(bench),
            "memory": lambda: memory(bench, options.quick),
            "gpu": lambda: gpu(bench),
        }
        tables: dict[str, list[Row]] = {}
        for name in [options.only] if options.only else CASES:
            if name == "gpu" and device.type == "cpu":
                print("gpu: torch finds none; not measured here")
            elif (name == "gpu") == (device.type == "cuda"):
                for title, rows in cases[name]().items():
                    publish(title, rows)
                    tables[title] = rows
        if options.output:
            write_json(options.output, where, tables)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=CASES, help="one case (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tiny network: does it run?")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the tables there too")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    parser.add_argument("--allocator", choices=("heap", "glibc"), default="heap", help="see above")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    chosen = _parse(None)
    if chosen.allocator == "heap" and not chosen.memory_of and sys.platform == "linux":
        missing = {key: value for key, value in _KEEP_MEMORY.items() if key not in os.environ}
        if missing:
            os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | missing)
    main()
