"""Evaluate on TinyFace: closed-set 1:N identification of native faces among distractors."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.closed_set_benchmark import run_closed_set
from btnet.cli.native_benchmark import add_native_arguments
from btnet.public_sets.native_sets import read_tinyface


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet tinyface`."""
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="where Gallery_Match, Probe and Gallery_Distractor are, for an aligned copy (default: ROOT/Testing_Set)",
    )
    add_native_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Score each model under each strategy.

    Raises:
        ValueError: for damaged lists or models, unreadable images, a probe without gallery mate.
        FileNotFoundError, NotADirectoryError: for a missing part of the data set, or a model.
    """
    run_closed_set("tinyface", read_tinyface(args.root, images_root=args.images), ("probe",), args)
