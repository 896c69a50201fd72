"""Print what each resolution costs: GFLOPs, parameters learnt, bytes stored, beside the paper."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from btnet.cli.branch_options import add_branch_arguments
from btnet.model.cost import Cost, model_costs
from btnet.model.names import trunk_of

# BTNet, table 1 and section 4.2: r50 at 112 px, shares in % at 28 and 7 px.
_PAPER = (
    "paper, r50: 43.59 M, at 14 px 2.29 M learnt, overlays of 1.1 % (28 px) to 48.9 % (7 px) of the trunk"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet model-cost`."""
    parser.add_argument(
        "networks", nargs="*", default=["r50"], help="r18, r50, mbf ..., or a trunk's .pt file (default: r50)"
    )
    add_branch_arguments(parser)
    parser.add_argument(
        "--adapter-rank", type=int, default=0, metavar="R", help="of adapters in the tail (default: none)"
    )
    parser.add_argument(
        "--inner-size",
        type=int,
        default=0,
        metavar="PX",
        help="that branches enlarge faces to (default: none)",
    )
    parser.add_argument(
        "--output", "-o", type=Path, metavar="X.png",
        help="draw figs. 4 and 5 (.png or .svg); the table goes to the same name with .csv",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Print a table per network, draw them if asked to.

    Raises:
        ValueError, FileNotFoundError: for an unknown network, resolution or unit.
    """
    console = Console(width=110)
    costs = {}
    for name in args.networks:
        costs[Path(name).name] = model_costs(
            trunk_of(name),
            args.resolutions,
            tail_from=args.tail_from,
            adapter_rank=args.adapter_rank,
            inner_size=args.inner_size,
        )
        console.print(_table(name, costs[Path(name).name]))
    console.print(_PAPER, highlight=False)
    if args.output is not None:
        # Matplotlib takes a second to import: a table on the console need not wait.
        from btnet.analysis import cost_picture
        from btnet.analysis.output import write_picture_and_table

        table = write_picture_and_table(
            cost_picture.draw(costs), cost_picture.HEADER, cost_picture.rows(costs), args.output
        )
        console.print(f"{args.output}\n{table}", highlight=False)


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
