"""Import a recognition ONNX file as a trunk; merged BatchNorms are restored with faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.trunk_output import add_trunk_options, labelled_of, refuse_output, show_judged, write_trunk
from btnet.console import show
from btnet.data.pairs import sample_faces
from btnet.interop.onnx_trunk import import_onnx


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet import-onnx`."""
    parser.add_argument("model", type=Path, metavar="X.onnx", help="IResNet or MobileFaceNet")
    parser.add_argument(
        "--input-mean",
        type=float,
        metavar="M",
        help="the file's input is (grey level - M) / S (usual: 127.5)",
    )
    parser.add_argument("--input-std", type=float, metavar="S", help="see --input-mean (usual: 127.5, 128)")
    parser.add_argument(
        "--input-size",
        type=int,
        default=112,
        metavar="PX",
        help="size of the faces it takes (default: %(default)s)",
    )
    add_trunk_options(parser, "restore merged BatchNorms")


def run(args: argparse.Namespace) -> None:
    """Write a state dict in arcface_torch's keys."""
    refuse_output(args)
    faces = (
        None
        if args.faces is None
        else sample_faces(args.faces, args.num_faces, size=args.input_size, canonical_size=args.input_size)
    )
    imported = import_onnx(
        args.model,
        faces,
        colour_order=args.colour_order,
        input_mean=args.input_mean,
        input_std=args.input_std,
        labelled=labelled_of(args, args.input_size),
    )
    write_trunk(args, imported.trunk)
    used = f" with {len(faces)} faces" if faces is not None and imported.restored else ""
    show(f"the file takes {imported.convention}; the trunk takes RGB, (x - 127.5) / 127.5")
    show(
        f"{len(imported.restored)} merged BatchNorms restored{used}; normalised embeddings differ from the file's by "
        f"at most {imported.difference:.1e}"
    )
    show_judged(imported.judged, imported.verdict)
