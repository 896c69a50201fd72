"""Evaluate on SCFace: closed-set 1:N identification of surveillance faces from three distances."""

from __future__ import annotations

import argparse

from btnet.cli.closed_set_benchmark import run_closed_set
from btnet.cli.native_benchmark import add_native_arguments
from btnet.public_sets.native_sets import DISTANCES, read_scface


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet scface`."""
    add_native_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Score each model, strategy and distance.

    Raises:
        ValueError: for damaged models, unreadable images, a probe without gallery mate.
        FileNotFoundError, NotADirectoryError: for a missing part of the data set, or a model.
    """
    run_closed_set("scface", read_scface(args.root), DISTANCES, args)
