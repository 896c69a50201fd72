"""Export one network of a model as a package that insightface 2.x loads."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.console import show
from btnet.files.atomic import refuse_existing
from btnet.interop.insightface import MANIFEST, export_package
from btnet.serving.loading import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-insightface`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help=options.MODEL_HELP)
    options.add_output(parser, "FOLDER", "folder of the package")
    options.add_overwrite(parser)
    parser.add_argument(
        "--resolution", type=int, metavar="PX", help="export this network (default: the trunk)"
    )
    options.add_input_size(
        parser,
        "size of the faces it takes, a multiple of 112 or 128 (default: the network's own, else 112, resized inside)",
    )
    options.add_precision(parser)


def run(args: argparse.Namespace) -> None:
    """Write the folder and say how to load it."""
    refuse_existing(args.output / MANIFEST, overwrite=args.overwrite)
    evaluated = load_model(args.model)
    folder = export_package(
        evaluated.module,
        args.output,
        resolution=args.resolution,
        input_size=args.input_size,
        precision=args.precision,
        interpolation=evaluated.interpolation,
    )
    show(f'{folder}: insightface.model_zoo.get_model("{folder}", model_task="recognition")')
