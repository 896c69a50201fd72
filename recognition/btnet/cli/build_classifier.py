"""Build an old classifier for a trunk that comes without one: the mean embedding of each class."""

from __future__ import annotations

import argparse

from btnet.backbones.trunk_file import load_trunk
from btnet.cli import options
from btnet.console import show
from btnet.data.faces import open_faces
from btnet.files.atomic import refuse_existing
from btnet.training.classifiers import write_classifier
from btnet.training.distributed import distributed_context
from btnet.training.prototypes import embed_prototypes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet build-classifier`."""
    parser.add_argument("trunk", metavar="TRUNK", help="the trunk's model.pt, or its run folder")
    parser.add_argument("faces", metavar="FACES", help=f"training set: {options.FACES_HELP}")
    options.add_output(parser, "X.safetensors")
    options.add_overwrite(parser)
    parser.add_argument(
        "--corrupt", choices=("raise", "skip"), default="raise", help="stop at damaged images, or skip them"
    )
    parser.add_argument(
        "--native-crops",
        action="store_true",
        help="take images of any size and shape, not aligned faces alone",
    )
    options.add_interpolation(parser, "bilinear")
    options.add_batch_size(parser)
    options.add_workers(parser, 2)
    options.add_device(parser)


def run(args: argparse.Namespace) -> None:
    """Embed the set, on all ranks of torchrun, and write the centres."""
    refuse_existing(args.output, overwrite=args.overwrite)
    with distributed_context(args.device or "") as context:
        faces = open_faces(args.faces, corrupt=args.corrupt, native_crops=args.native_crops)
        trunk = load_trunk(args.trunk).to(context.device)
        centres = embed_prototypes(
            faces,
            trunk,
            context,
            batch_size=args.batch_size,
            interpolation=args.interpolation,
            num_workers=args.workers,
        )
        if context.is_main:
            write_classifier(args.output, centres, faces, trunk)
            show(f"{args.output}: {faces.num_classes} classes from {len(faces)} images")
