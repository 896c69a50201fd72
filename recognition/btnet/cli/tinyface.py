"""Evaluate on TinyFace: closed-set 1:N identification of native faces among distractors."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.native_benchmark import add_native_arguments, run_closed_set
from btnet.public_sets.native_sets import read_tinyface


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet tinyface`."""
    add_native_arguments(parser)
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="where Gallery_Match, Probe and Gallery_Distractor are, for an aligned copy (default: ROOT/Testing_Set)",
    )


def run(args: argparse.Namespace) -> None:
    """Score each model under each strategy."""
    run_closed_set("tinyface", read_tinyface(args.root, images_root=args.images), ("probe",), args)
