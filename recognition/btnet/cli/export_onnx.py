"""Write the networks of a model as ONNX files, each checked against torch."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from btnet.inference.model_folder import load_model
from btnet.interop.onnx import check_onnx, export_onnx, open_session
from btnet.model.btnet import BTNet

_SECONDS_TO_MEASURE = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-onnx`."""
    parser.add_argument("model", type=Path, help="run folder (trunk and branches), or a trunk's .pt file")
    parser.add_argument(
        "--resolutions",
        type=int,
        nargs="+",
        metavar="PX",
        help="networks to write (default: the trunk and every branch)",
    )
    parser.add_argument(
        "--input-size",
        type=int,
        metavar="PX",
        help="faces all files take, resized inside the graph to the network's size (default: that size)",
    )
    parser.add_argument(
        "--out",
        "-o",
        type=Path,
        metavar="DIR",
        help="where to write embed_rPX.onnx (default: onnx/ in the run folder)",
    )


def run(args: argparse.Namespace) -> None:
    """Write the files and print a line for each: size, difference from torch, speed.

    Raises:
        ValueError: for a damaged model, a resolution without network, or an export that differs from torch.
        FileNotFoundError: if there is no such model.
    """
    evaluated = load_model(args.model)
    model = evaluated.model
    sizes = (
        [model.trunk.canonical_size, *model.resolutions] if isinstance(model, BTNet) else [model.input_size]
    )
    chosen = list(dict.fromkeys(args.resolutions or sizes))
    unknown = [str(size) for size in chosen if size not in sizes]
    if unknown:
        raise ValueError(
            f"--resolutions {' '.join(unknown)}: {args.model} has networks for "
            f"{', '.join(map(str, sizes))} px; choose among these"
        )
    folder = args.out or (args.model if args.model.is_dir() else args.model.parent) / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    for size in chosen:
        suffix = "" if args.input_size in (None, size) else f"_from{args.input_size}"
        path = export_onnx(
            model,
            folder / f"embed_r{size}{suffix}.onnx",
            resolution=size,
            input_size=args.input_size,
            interpolation=evaluated.interpolation,
        )
        print(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, differs from torch by at most "
            f"{check_onnx(path, model):.1e}, {_milliseconds_per_face(path):.2f} ms per face at batch 1"
        )


def _milliseconds_per_face(path: Path) -> float:
    """Median time of one face on the CPU, after a warm-up."""
    session = open_session(path)
    [face] = session.get_inputs()
    feed = {face.name: np.zeros((1, *face.shape[1:]), np.float32)}
    seconds: list[float] = []
    for _ in range(3):
        session.run(None, feed)
    while sum(seconds) < _SECONDS_TO_MEASURE:
        start = time.perf_counter()
        session.run(None, feed)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)
