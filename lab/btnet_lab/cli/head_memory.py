"""Print the memory that a classifier takes per rank, computed without a GPU, beside a head written plainly."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from btnet.console import show, show_table
from btnet.loss import MARGINS
from btnet_lab.head_memory import head_memory, plain_head_memory

_COLUMNS = ("ranks", "centres", "kept", "peak", "sharded, plainly", "replicated, plainly")
_NOTE = (
    "kept: centres and momentum, between steps; peak: most at any time of a step. sharded, plainly: the same "
    "shards, centres normalised in the graph, margin and cross entropy out of place, a dense gradient even where "
    "frozen or sampled. replicated, plainly: likewise, all classes on every rank. Tensors only: workspaces of "
    "matrix products and buffers of the communication come on top."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab head-memory`."""
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[93_431, 2_000_000], metavar="N", help="(MS1MV3 and 2 M)"
    )
    parser.add_argument(
        "--ranks", type=int, nargs="+", default=[1, 4, 8], metavar="N", help="(default: 1 4 8)"
    )
    parser.add_argument("--batch-size", type=int, default=128, help="images per rank (default: %(default)s)")
    parser.add_argument("--embedding-size", type=int, default=512, help="(default: %(default)s)")
    parser.add_argument(
        "--sample-rate", type=float, default=0.1, help="share of the centres per step (default: %(default)s)"
    )
    parser.add_argument(
        "--loss", choices=MARGINS, default="curricularface", help="margin (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Print a table per number of classes."""
    numbers = {"ranks": min(args.ranks), "batch-size": args.batch_size, "embedding-size": args.embedding_size}
    for name, value in numbers.items():
        if value < 1:
            raise ValueError(f"--{name} {value}: expected a whole number from 1 on")
    for num_classes in args.classes:
        title = f"{num_classes:,} classes, {args.batch_size} images per rank, {args.loss}; GB per rank"
        show_table(title, _COLUMNS, _rows(num_classes, args), text=(1,))
    show(_NOTE)


def _rows(num_classes: int, args: argparse.Namespace) -> Iterator[list[str] | None]:
    kinds: dict[str, dict[str, Any]] = {
        "learnt": {},
        f"learnt, {args.sample_rate:g} sampled": {"sample_rate": args.sample_rate},
        "frozen": {"frozen": True},
    }
    for number, world_size in enumerate(args.ranks):
        if number:
            yield None
        for kind, options in kinds.items():
            shape = {"batch_size": args.batch_size, "embedding_size": args.embedding_size, **options}
            ours = head_memory(num_classes, world_size, margin=MARGINS[args.loss], **shape)
            plain = plain_head_memory(num_classes, world_size, **shape)
            replicated = plain_head_memory(num_classes, world_size, replicated=True, **shape)
            yield [
                str(world_size),
                kind,
                *map(_gb, (ours.kept, ours.peak, plain.peak, replicated.peak)),
            ]


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.3f}"
