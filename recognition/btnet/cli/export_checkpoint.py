"""Write trunk and branches as state dict files that arcface_torch's scripts load."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.overwrite_option import add_overwrite_argument
from btnet.console import show
from btnet.interop.checkpoints import export_checkpoints
from btnet.serving.model_folder import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet export-checkpoint`."""
    parser.add_argument("model", type=Path, help="run folder (trunk and branches), or a trunk's .pt file")
    parser.add_argument(
        "--for",
        dest="reader",
        choices=["arcface_torch"],
        default="arcface_torch",
        help="who will read the files (default: %(default)s)",
    )
    parser.add_argument(
        "--resolutions",
        type=int,
        nargs="+",
        metavar="PX",
        help="networks to write (default: the trunk and every branch)",
    )
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="FOLDER", help="where to write")
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write the files and print by which names of `get_model` they load.

    Raises:
        ValueError: for a damaged model, or a resolution without network.
        FileNotFoundError: if there is no such model.
        FileExistsError: if a file to write is there and may not be replaced.
    """
    model = load_model(args.model).model
    for checkpoint in export_checkpoints(
        model, args.output, resolutions=args.resolutions, overwrite=args.overwrite
    ):
        names = " or ".join(f"{name} (takes {size} px)" for name, size in checkpoint.names.items())
        show(
            f"{checkpoint.path}: {checkpoint.path.stat().st_size / 1e6:.2f} MB, "
            + (f"get_model name {names}" if names else "arcface_torch has no name for this architecture")
        )
