"""Write one network of a model as a package that insightface 2.x loads, at any input size."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.console import show
from btnet.inference.model_folder import load_model
from btnet.interop.insightface import export_package
from btnet.interop.onnx_convert import PRECISIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-insightface`."""
    parser.add_argument("model", type=Path, help="run folder (trunk and branches), or a trunk's .pt file")
    parser.add_argument("--resolution", type=int, metavar="PX", help="of the network (default: the trunk's)")
    parser.add_argument(
        "--input", type=int, metavar="PX", help="size of the faces it takes (default: the network's)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="(default: %(default)s)")
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="DIR", help="folder of the package")


def run(args: argparse.Namespace) -> None:
    """Write the folder and say how to load it.

    Raises:
        ValueError: for a damaged model, a resolution without network, or a folder name insightface refuses.
        FileNotFoundError: if there is no such model.
    """
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
