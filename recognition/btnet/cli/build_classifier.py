"""Make an old classifier for a trunk that comes without one: the mean embedding of each class."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.backbones.trunk_file import load_trunk
from btnet.cli.overwrite_option import add_overwrite_argument
from btnet.console import show
from btnet.data.faces import open_faces
from btnet.files.atomic import refuse_existing
from btnet.images.interpolation import INTERPOLATIONS
from btnet.training.classifiers import write_classifier
from btnet.training.distributed import distributed_context
from btnet.training.prototypes import embed_prototypes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet build-classifier`."""
    parser.add_argument("trunk", help="the trunk's model.pt, or its run folder")
    parser.add_argument("--rec", required=True, help="training set: a .rec file or a folder of identities")
    parser.add_argument(
        "--output", "-o", type=Path, required=True, metavar="X.safetensors", help="file to write"
    )
    parser.add_argument("--corrupt", choices=("raise", "skip"), default="raise", help="damaged images")
    parser.add_argument(
        "--native-crops",
        action="store_true",
        help="take images of any size and shape, not aligned faces alone",
    )
    parser.add_argument("--interpolation", choices=INTERPOLATIONS, default="bilinear", help="of other sizes")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="images per forward pass (default: %(default)s)"
    )
    parser.add_argument(
        "--num-workers", type=int, default=2, help="loader processes per rank (default: %(default)s)"
    )
    parser.add_argument("--device", default="", help="cpu or cuda (default: cuda where there is one)")
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Embed the set, on all ranks of torchrun, and write the centres.

    Raises:
        ValueError, FileNotFoundError: for a damaged trunk or set.
        FileExistsError: if the file is there and may not be replaced.
    """
    refuse_existing(args.output, overwrite=args.overwrite)
    with distributed_context(args.device) as context:
        faces = open_faces(args.rec, corrupt=args.corrupt, native_crops=args.native_crops)
        trunk = load_trunk(args.trunk).to(context.device)
        centres = embed_prototypes(
            faces,
            trunk,
            context,
            batch_size=args.batch_size,
            interpolation=args.interpolation,
            num_workers=args.num_workers,
        )
        if context.is_main:
            write_classifier(args.output, centres, faces, trunk)
            show(f"{args.output}: {faces.num_classes} classes from {len(faces)} images")
