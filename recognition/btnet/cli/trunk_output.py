"""Options and output of the commands that import a trunk from somebody else's file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from btnet.backbones.backbone import Backbone
from btnet.backbones.saved_networks import COLOUR_ORDERS
from btnet.backbones.trunk_file import write_weights
from btnet.cli import options
from btnet.console import show
from btnet.data.faces import open_faces
from btnet.files.atomic import refuse_existing
from btnet.interop.conventions import Judged, Labelled, labelled_faces
from btnet.method.btnet import BTNet
from btnet.model_folder.model_files import refuse_model


def add_trunk_options(parser: argparse.ArgumentParser, use_of_faces: str) -> None:
    """Declare what `import-onnx` and `convert-trunk` have in common."""
    options.add_output(parser, "PATH", "model.pt, X.safetensors, or a folder for model.pt and its manifest")
    options.add_overwrite(parser)
    parser.add_argument(
        "--colour-order",
        choices=COLOUR_ORDERS,
        help="of the images it was trained on, where the file does not tell",
    )
    options.add_faces(parser, f"{use_of_faces} with aligned faces", 512)
    parser.add_argument(
        "--labelled",
        metavar="SET",
        help="check colour order and range on up to 100 people: X.rec or a folder of identity folders, aligned",
    )
    parser.add_argument("--licence", metavar="TEXT", help="record this licence with the trunk")


def labelled_of(args: argparse.Namespace, size: int) -> Labelled | None:
    """The faces of `--labelled`."""
    return None if args.labelled is None else labelled_faces(open_faces(args.labelled), size)


def refuse_output(args: argparse.Namespace) -> None:
    """Refuse, before the work starts, to write over what is there."""
    if _is_folder(args.output):
        refuse_model(args.output, overwrite=args.overwrite)
    else:
        refuse_existing(args.output, overwrite=args.overwrite)


def write_trunk(args: argparse.Namespace, trunk: Backbone) -> None:
    """Write file or folder, with what is known of the trunk's origin."""
    output: Path = args.output
    if args.licence:
        trunk.origin = {**trunk.origin, "licence": args.licence}
    output.parent.mkdir(parents=True, exist_ok=True)
    if _is_folder(output):
        BTNet(trunk, ()).save(output, role=output.resolve().name)
    else:
        write_weights(output, trunk.state_dict(), trunk.origin)
    arch = ", ".join(f"{key} {value}" for key, value in trunk.arch.items())
    known = "".join(f"; {key.replace('_', ' ')}: {value}" for key, value in trunk.origin.items())
    show(f"{output}: {type(trunk).__name__}, {arch}{known}")


def show_judged(judged: Sequence[Judged], verdict: str) -> None:
    """A line for each convention, and the sentence."""
    for each in judged:
        show(f"  {each.convention!s:<26}separation {each.separation:5.2f}: {each.verdict}")
    if verdict:
        show(verdict)


def _is_folder(output: Path) -> bool:
    return not output.suffix or output.is_dir()
