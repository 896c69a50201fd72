"""Make a trunk of an InsightFace recognition ONNX file, merged BatchNorms restored with faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.overwrite_option import add_overwrite_argument
from btnet.console import show
from btnet.data.face_sample import sample_faces
from btnet.files.existing import refuse_existing
from btnet.interop.onnx_trunk import import_onnx
from btnet.model.trunk_file import write_weights


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet import-onnx`."""
    parser.add_argument("model", type=Path, help="ONNX file of IResNet or MobileFaceNet kind")
    parser.add_argument(
        "--faces",
        metavar="SET",
        help="aligned faces for the merged BatchNorms: a .rec or .bin file, or a folder of identity folders",
    )
    parser.add_argument("--num-faces", type=int, default=512, help="of them used (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=112, metavar="PX", help="of the model (default: %(default)s)"
    )
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="model.pt", help="file to write")
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write a state dict in arcface_torch's keys.

    Raises:
        ValueError: for a file of another kind, or if faces are needed and there are none.
        FileNotFoundError: if a file is missing.
        FileExistsError: if the file to write is there and may not be replaced.
    """
    refuse_existing(args.output, overwrite=args.overwrite)
    faces = None if args.faces is None else sample_faces(args.faces, args.num_faces, size=args.size)
    imported = import_onnx(args.model, faces)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_weights(args.output, imported.trunk.state_dict())
    arch = ", ".join(f"{key} {value}" for key, value in imported.trunk.arch.items())
    used = f" with {len(faces)} faces" if faces is not None and imported.restored else ""
    show(f"{args.output}: {type(imported.trunk).__name__}, {arch}")
    show(
        f"{len(imported.restored)} merged BatchNorms restored{used}; normalised embeddings differ from the file's by "
        f"at most {imported.difference:.1e}"
    )
