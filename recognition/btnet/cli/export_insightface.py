"""Write one network of a model as a package that insightface 2.x loads."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.overwrite_option import add_overwrite_argument
from btnet.console import show
from btnet.files.atomic import refuse_existing
from btnet.interop.insightface import MANIFEST, export_package
from btnet.interop.onnx_convert import PRECISIONS
from btnet.serving.model_folder import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-insightface`."""
    parser.add_argument("model", type=Path, help="run folder (trunk and branches), or a trunk's .pt file")
    parser.add_argument("--resolution", type=int, metavar="PX", help="of the network (default: the trunk's)")
    parser.add_argument(
        "--input",
        type=int,
        metavar="PX",
        help="size of the faces it takes, a multiple of 112 or 128 (default: the network's, else 112, shrunk inside)",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help="folder of the package")
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write the folder and say how to load it.

    Raises:
        ValueError: for a damaged model, a resolution without network, or a size or folder name insightface refuses.
        FileNotFoundError: if there is no such model.
        FileExistsError: if the package is there and may not be replaced.
    """
    refuse_existing(args.out / MANIFEST, overwrite=args.overwrite)
    evaluated = load_model(args.model)
    folder = export_package(
        evaluated.model,
        args.out,
        resolution=args.resolution,
        input_size=args.input,
        precision=args.precision,
        interpolation=evaluated.interpolation,
    )
    show(f'{folder}: insightface.model_zoo.get_model("{folder}", model_task="recognition")')
