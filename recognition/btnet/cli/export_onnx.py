"""Export the networks of a model as ONNX files, each checked against torch."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from btnet.cli import options
from btnet.console import show
from btnet.files.atomic import refuse_existing
from btnet.interop.onnx import check_onnx, export_onnx
from btnet.interop.onnx_bundle import export_bundle
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import NAME, leads_bundle
from btnet.model_folder.model_files import record_files
from btnet.serving.loading import load_model
from btnet.serving.onnx_folder import FOLDER, network_file
from btnet.serving.onnx_session import open_session

_SECONDS_TO_MEASURE = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-onnx`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help=options.MODEL_HELP)
    options.add_output(
        parser, "FOLDER", "where to write embed_rPX.onnx (default: onnx/ in the run folder)", required=False
    )
    options.add_overwrite(parser)
    options.add_resolutions(parser)
    options.add_input_size(
        parser,
        "size of the faces that the files take: native, each network's own (default); or one for all, such as 112, "
        "resized inside the graph: a drop-in for whatever feeds 112 px crops",
    )
    options.add_precision(parser)
    parser.add_argument(
        "--bundle",
        action="store_true",
        help="store the trunk's weights once, in a data file that the ONNX files of all resolutions share",
    )


def run(args: argparse.Namespace) -> None:
    """Write the files and print a line for each: size, difference from torch, speed."""
    evaluated = load_model(args.model)
    model = evaluated.module
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
    folder = args.output or (args.model if args.model.is_dir() else args.model.parent) / FOLDER
    if args.bundle:
        if not isinstance(model, BTNet) or args.resolutions:
            raise ValueError(
                f"{args.model}: --bundle is for a trunk and all its branches; leave it or --resolutions out"
            )
        refuse_existing(*(folder / network_file(size) for size in sizes), overwrite=args.overwrite)
        networks = export_bundle(model, folder, input_size=args.input_size, precision=args.precision)
        _print_bundle(networks, folder)
        _record(args.model, [folder / NAME])
        return
    if leads_bundle(folder):
        raise ValueError(
            f"{folder}: holds a bundle, whose files these would replace; take another folder with --output"
        )
    paths = {
        size: folder / network_file(size, input_size=args.input_size, precision=args.precision)
        for size in chosen
    }
    refuse_existing(*paths.values(), overwrite=args.overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for size, path in paths.items():
        export_onnx(
            model,
            path,
            resolution=size,
            input_size=args.input_size,
            precision=args.precision,
            interpolation=evaluated.interpolation,
        )
        show(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, differs from torch by at most "
            f"{check_onnx(path, model):.1e}, {_milliseconds_per_face(open_session(path)):.2f} ms per face at batch 1"
        )
    _record(args.model, list(paths.values()))


def _record(run: Path, paths: list[Path]) -> None:
    """Have the run's manifest list files that lie in its folder."""
    inside = [path.resolve() for path in paths if run.resolve() in path.resolve().parents]
    if inside and (run / NAME).is_file():
        record_files(run.resolve(), inside)


def _print_bundle(networks: dict[int, Path], folder: Path) -> None:
    for size, path in networks.items():
        show(f"{path}: {size} px, {_milliseconds_per_face(open_session(path)):.2f} ms per face at batch 1")
    num_bytes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != NAME}
    for name, size in num_bytes.items():
        show(f"  {name}: {size / 1e6:.2f} MB")
    show(f"bundle: {sum(num_bytes.values()) / 1e6:.1f} MB")


def _milliseconds_per_face(session: Any) -> float:
    """Median time of one face on the CPU, after a warm-up."""
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
