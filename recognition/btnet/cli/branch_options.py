"""Options of the commands that look at the branches a network would have."""

from __future__ import annotations

import argparse

__all__ = ["add_branch_arguments"]


def add_branch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--resolutions` and `--tail-from`."""
    parser.add_argument(
        "--resolutions", type=int, nargs="+", default=[56, 28, 14, 7], metavar="PX", help="of the branches"
    )
    parser.add_argument(
        "--tail-from",
        metavar="UNIT",
        help="where the shared tail starts (default: behind the coupling layer)",
    )
