"""A bundle against separate files: bytes on disk, memory of one session and of all, latency of unfolded graphs.

    python benchmarks/onnx_bundle.py [--network r50] [--seconds 2]

Each way to load the networks has a process of its own. Memory is its proportional set size (a page that several
mappings share counts once) after every network has embedded one face, less what it was before the first was
loaded, with freed memory given back. Weights are random; a branch's own are unlike the trunk's, as after training.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from btnet import BTNet
from btnet.backbones.registry import create
from btnet.interop.onnx import export_onnx
from btnet.interop.onnx_bundle import export_bundle
from btnet.serving.onnx_folder import bundle_networks

Run = Callable[[], object]
Load = Callable[[Path, bool], list[Callable[[], Run]]]
# As served; and with whatever makes copies of the weights turned off, which is what sharing would take.
_OPTIONS = {"as served": False, "unoptimised": True}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="r50")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[28, 14, 7])
    parser.add_argument("--seconds", type=float, default=2.0, help="per latency (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = _write(folder, args.network, args.resolutions)
        print("loaded as                   memory, MB: first  all      ms per face at " + sizes)
        for way in ("separate", "bundle"):
            for name, plain in _OPTIONS.items():
                _measure(f"onnxruntime {way}, {name}", _onnxruntime, (folder / way, plain), args.seconds)
        _measure("torch separate", _torch, (folder / "run", False), args.seconds)
        _measure("torch BTNet", _torch, (folder / "run", True), args.seconds)


def _write(folder: Path, name: str, resolutions: list[int]) -> str:
    """Run, separate files and bundle in sub-folders; bytes are printed. Returns the resolutions, as a title."""
    torch.manual_seed(0)
    model = BTNet(create(name), resolutions).eval()
    with torch.no_grad():
        for r in resolutions:
            for key in model.owned(r):
                tensor = model.network(r).state_dict()[key]
                if tensor.is_floating_point():
                    tensor.mul_(1 + 0.01 * torch.rand_like(tensor))
    model.save(folder / "run")
    (folder / "separate").mkdir()
    separate = 0
    for size in (model.trunk.canonical_size, *resolutions):
        path = export_onnx(model, folder / "separate" / f"embed_r{size}.onnx", resolution=size)
        separate += path.stat().st_size
    export_bundle(model, folder / "bundle")
    bundle = {path.name: path.stat().st_size for path in sorted((folder / "bundle").iterdir())}
    for file, num_bytes in bundle.items():
        print(f"{file:18} {num_bytes / 1e6:7.2f} MB")
    print(f"bundle {sum(bundle.values()) / 1e6:.1f} MB, separate files {separate / 1e6:.1f} MB\n")
    return " / ".join(map(str, (model.trunk.canonical_size, *resolutions)))


def _measure(title: str, load: Load, arguments: tuple[Path, bool], seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        first, everything, milliseconds = pool.apply(_in_process, (load, arguments, seconds))
    times = " / ".join(f"{each:.1f}" for each in milliseconds)
    print(f"{title:38} {first:8.1f} {everything:8.1f}      {times}", flush=True)


def _in_process(load: Load, arguments: tuple[Path, bool], seconds: float) -> tuple[float, float, list[float]]:
    """Megabytes with the first network and with all, and milliseconds per face of each."""
    openers = load(*arguments)
    before = _held()
    runs: list[Run] = []
    held: list[float] = []
    for opener in openers:
        runs.append(opener())
        runs[-1]()
        held.append(_held() - before)
    return held[0], held[-1], [_milliseconds(run, seconds) for run in runs]


def _onnxruntime(folder: Path, plain: bool) -> list[Callable[[], Run]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    if (folder / "btnet.json").is_file():
        paths = list(bundle_networks(folder).values())
    else:
        paths = sorted(folder.glob("*.onnx"), key=lambda path: -int(path.stem[7:]))

    def opener(path: Path) -> Run:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        face = np.zeros((1, *session.get_inputs()[0].shape[1:]), np.float32)
        return lambda: session.run(None, {"data": face})

    return [lambda path=path: opener(path) for path in paths]  # type: ignore[misc]


def _torch(folder: Path, shared: bool) -> list[Callable[[], Run]]:
    """One model that shares, or every network as a copy of its own."""
    model: list[BTNet] = []

    def opener(index: int) -> Run:
        if not shared or not model:
            model.append(BTNet.load(folder))
        size = [model[-1].trunk.canonical_size, *model[-1].resolutions][index]
        network = model[-1].network(size)
        if not shared:
            network = model.pop().detached(size)
            gc.collect()
        face = torch.zeros(1, 3, size, size)

        def run() -> object:
            with torch.inference_mode():
                return network(face)

        return run

    num_networks = 1 + len(list(folder.glob("overlay_r*")))
    return [lambda index=index: opener(index) for index in range(num_networks)]  # type: ignore[misc]


def _held() -> float:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        [kilobytes] = [line.split()[1] for line in file if line.startswith("Pss:")]
    return int(kilobytes) * 1024 / 1e6


def _milliseconds(run: Run, seconds: float) -> float:
    times: list[float] = []
    run()
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
