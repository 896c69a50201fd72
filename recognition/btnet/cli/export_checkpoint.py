"""Export trunk and branches as state dict files that arcface_torch's scripts load."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.console import show
from btnet.interop.checkpoints import export_checkpoints
from btnet.serving.loading import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-checkpoint`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help=options.MODEL_HELP)
    options.add_output(parser, "FOLDER", "folder to write")
    options.add_overwrite(parser)
    options.add_resolutions(parser)
    parser.add_argument(
        "--for",
        dest="reader",
        choices=["arcface_torch"],
        default="arcface_torch",
        help="who will read the files (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Write the files and print by which names of `get_model` they load."""
    model = load_model(args.model).module
    for checkpoint in export_checkpoints(
        model, args.output, resolutions=args.resolutions, overwrite=args.overwrite
    ):
        names = " or ".join(f"{name} (takes {size} px)" for name, size in checkpoint.names.items())
        show(
            f"{checkpoint.path}: {checkpoint.path.stat().st_size / 1e6:.2f} MB, "
            + (f"get_model name {names}" if names else "arcface_torch has no name for this architecture")
        )
