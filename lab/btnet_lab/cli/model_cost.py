"""Print what each resolution costs: GFLOPs, parameters learnt, bytes stored, beside the paper."""

from __future__ import annotations

import argparse

from btnet.cli import options
from btnet.console import show, show_table
from btnet_lab.analysis.cost import Cost, model_costs, trunk_of

_COLUMNS = ("px", "GFLOPs", "learnt, M", "of trunk, %", "authors', M", "of trunk, %", "stored, MB")
# BTNet, table 1 and section 4.2: r50 at 112 px, shares in % at 28 and 7 px.
_PAPER = (
    "paper, r50: 43.59 M, at 14 px 2.29 M learnt, overlays of 1.1 % (28 px) to 48.9 % (7 px) of the trunk"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab model-cost`."""
    parser.add_argument(
        "networks", nargs="*", default=["r50"], help="r18, r50, mbf ..., or a trunk's .pt file (default: r50)"
    )
    add_branch_arguments(parser)
    parser.add_argument(
        "--inner-size",
        type=int,
        default=0,
        metavar="PX",
        help="that branches enlarge faces to (default: none)",
    )
    options.add_output(
        parser,
        "X.png",
        "draw figs. 4 and 5 (.png or .svg); the table goes to the same name with .csv",
        required=False,
    )


def add_branch_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the branches that a network would have."""
    parser.add_argument(
        "--resolutions", type=int, nargs="+", default=[56, 28, 14, 7], metavar="PX", help="of the branches"
    )
    parser.add_argument(
        "--tail-from",
        metavar="UNIT",
        help="where the shared tail starts (default: behind the coupling layer)",
    )


def run(args: argparse.Namespace) -> None:
    """Print a table per network, draw them if asked to."""
    costs = {}
    for name in args.networks:
        costs[name] = model_costs(
            trunk_of(name),
            args.resolutions,
            tail_from=args.tail_from,
            inner_size=args.inner_size,
        )
    if args.output is not None:
        # Matplotlib takes a second to import: a table on the console need not wait.
        from btnet_lab.analysis import cost_picture
        from btnet_lab.analysis.output import write_picture_and_table

        written = write_picture_and_table(cost_picture.draw(costs), cost_picture.rows(costs), args.output)
    for name, found in costs.items():
        show_table(name, _COLUMNS, map(_row, found), text=())
    show(_PAPER)
    if args.output is not None:
        show(args.output)
        show(written)


def _row(cost: Cost) -> list[str]:
    return [
        str(cost.resolution),
        f"{cost.flops / 1e9:.2f}",
        f"{cost.learnt / 1e6:.4f}",
        f"{100 * cost.share:.2f}",
        f"{cost.learnt_authors / 1e6:.4f}",
        f"{100 * cost.share_authors:.2f}",
        f"{cost.stored_bytes / 1e6:.2f}",
    ]
