"""Print what each resolution costs: GFLOPs, parameters learnt, bytes stored, beside the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from btnet.model.cost import Cost, model_costs
from btnet.model.names import create
from btnet.model.trunk_file import load_trunk

# BTNet, table 1 and section 4.2: r50 at 112 px, shares in % at 28 and 7 px.
_PAPER = (
    "paper, r50: 43.59 M, at 14 px 2.29 M learnt, overlays of 1.1 % (28 px) to 48.9 % (7 px) of the trunk"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet model-cost`."""
    parser.add_argument(
        "networks", nargs="*", default=["r50"], help="r18, r50, mbf ..., or a trunk's .pt file (default: r50)"
    )
    parser.add_argument(
        "--resolutions", type=int, nargs="+", default=[56, 28, 14, 7], metavar="PX", help="of the branches"
    )
    parser.add_argument(
        "--tail-from",
        metavar="UNIT",
        help="where the shared tail starts (default: behind the coupling layer)",
    )


def run(args: argparse.Namespace) -> None:
    """Print a table per network.

    Raises:
        ValueError, FileNotFoundError: for an unknown network, resolution or unit.
    """
    console = Console(width=110)
    for name in args.networks:
        if Path(name).suffix in (".pt", ".pth"):
            trunk = load_trunk(name)
        else:
            with torch.device("meta"):
                trunk = create(name)
        console.print(_table(name, model_costs(trunk, args.resolutions, tail_from=args.tail_from)))
    console.print(_PAPER, highlight=False)


def _table(name: str, costs: list[Cost]) -> Table:
    table = Table(title=name, title_justify="left", title_style="bold")
    for title in ("px", "GFLOPs", "learnt, M", "of trunk, %", "authors', M", "of trunk, %", "stored, MB"):
        table.add_column(title, justify="right")
    for cost in costs:
        table.add_row(
            str(cost.resolution),
            f"{cost.flops / 1e9:.2f}",
            f"{cost.learnt / 1e6:.4f}",
            f"{100 * cost.share:.2f}",
            f"{cost.learnt_authors / 1e6:.4f}",
            f"{100 * cost.share_authors:.2f}",
            f"{cost.stored_bytes / 1e6:.2f}",
        )
    return table
