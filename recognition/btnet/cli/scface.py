"""Evaluate on SCFace: closed-set 1:N identification of surveillance faces at three distances."""

from __future__ import annotations

import argparse

from btnet.cli.native_benchmark import add_native_arguments, run_closed_set
from btnet.public_sets.native_sets import DISTANCES, read_scface


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet scface`."""
    add_native_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Score each model, strategy and distance."""
    run_closed_set("scface", read_scface(args.root), DISTANCES, args)
