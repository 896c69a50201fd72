"""Speed of a face at its own resolution: images/s of phi_hr, which up-samples to 112 px, against the branches.

    python benchmarks/inference.py --networks r50 --backends torch onnxruntime --batch-sizes 1 64

A face of r px costs phi_hr a resizing and the trunk, and a branch its own network. The speed-up is compared
with the ratio of FLOPs. Weights are random: they do not matter to speed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from btnet import BTNet
from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import create
from btnet.data.views import normalise
from btnet.images.resize import resize
from btnet.interop.onnx import build_graph
from btnet.serving.onnx_session import open_session
from btnet_lab.analysis.cost import count_flops

Embed = Callable[[Tensor], object]


def main() -> None:
    """Measure, and print a line per network, backend, batch size and resolution."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["r50", "r100"])
    parser.add_argument(
        "--backends", nargs="+", default=["torch", "onnxruntime"], choices=["torch", "onnxruntime"]
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[28, 14, 7])
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement (default: %(default)s)")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("network backend     batch  px   phi_hr/s  branch/s  speed-up  FLOP ratio  of ideal")
    for name in args.networks:
        trunk = create(name).eval()
        model = BTNet(trunk, args.resolutions).eval()
        for backend in args.backends:
            make = _torch if backend == "torch" else _onnxruntime
            embed = {size: make(model.network(size)) for size in (trunk.canonical_size, *model.resolutions)}
            for batch_size in args.batch_sizes:
                for size in model.resolutions:
                    faces = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
                    slow = _rate(lambda x: embed[112](resize(x, 112)), faces, args.seconds)  # noqa: B023
                    fast = _rate(embed[size], faces, args.seconds)
                    ratio = count_flops(trunk) / count_flops(model.network(size))
                    print(
                        f"{name:7} {backend:11} {batch_size:5} {size:3}  {slow:9.1f} {fast:9.1f} "
                        f"{fast / slow:9.2f} {ratio:11.2f} {fast / slow / ratio:9.2f}",
                        flush=True,
                    )


def _torch(network: Backbone) -> Embed:
    def embed(faces: Tensor) -> object:
        with torch.inference_mode():
            return network(normalise(faces).contiguous(memory_format=torch.channels_last))

    return embed


def _onnxruntime(network: Backbone) -> Embed:
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        onnx.save(build_graph(network).model, path)
        session = open_session(path)
    return lambda faces: session.run(None, {"data": normalise(faces).numpy()})


def _rate(embed: Embed, faces: Tensor, seconds: float) -> float:
    """Images per second, by the median time after a warm-up."""
    embed(faces)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 2:
        start = time.perf_counter()
        embed(faces)
        times.append(time.perf_counter() - start)
    return len(faces) / statistics.median(times)


if __name__ == "__main__":
    main()
