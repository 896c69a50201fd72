"""Check that a new model may probe the gallery that an old model embedded; for deployment pipelines."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btnet.cli import options
from btnet.console import progress_bar, show, show_table

if TYPE_CHECKING:
    from btnet.serving.compatibility import Compatibility

_NOT_COMPATIBLE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet check-compatibility`."""
    parser.add_argument("old", type=Path, metavar="OLD", help=f"the gallery's model: {options.MODEL_HELP}")
    parser.add_argument("new", type=Path, metavar="NEW", help="the probes' model")
    parser.add_argument(
        "faces", metavar="FACES", help=f"pairs of X.bin, or faces to draw pairs of: {options.FACES_HELP}"
    )
    options.add_output(parser, "X.json", "write the answer here too", required=False)
    options.add_json(parser)
    parser.add_argument(
        "--num-pairs",
        type=int,
        default=2000,
        metavar="N",
        help="draw N pairs of FACES (default: %(default)s)",
    )
    parser.add_argument(
        "--resolutions",
        type=int,
        nargs="+",
        metavar="PX",
        help="of the probes (default: those of the new model's networks)",
    )
    for role in ("old", "new"):
        parser.add_argument(
            f"--{role}-backend", choices=options.BACKENDS, default="torch", help="(default: %(default)s)"
        )
    parser.add_argument(
        "--far", type=float, help="compare true accept rates at this false accept rate (default: accuracy)"
    )
    options.add_batch_size(parser)
    options.add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print a table, write JSON; 0 if compatible, 1 if not."""
    from btnet.data.pairs import read_pairs
    from btnet.serving.compatibility import TOLERANCE, check_compatibility
    from btnet.serving.loading import load_model
    from btnet.serving.results import write_result

    old = load_model(args.old, args.old_backend, device=args.device)
    new = load_model(args.new, args.new_backend, device=args.device)
    resolutions = list(dict.fromkeys(args.resolutions or new.resolutions))
    images, issame = read_pairs(args.faces, args.num_pairs, size=old.canonical_size)
    same_runtime = args.old_backend == args.new_backend
    with progress_bar("embedding", len(issame) * 2 * (1 + len(resolutions))) as progress:
        found = check_compatibility(
            old,
            new,
            images,
            issame,
            resolutions,
            same_runtime=same_runtime,
            far=args.far,
            batch_size=args.batch_size,
            progress=progress,
        )
    metric = "accuracy" if args.far is None else f"TAR at FAR {args.far:g}"
    content: dict[str, Any] = {
        "compatible": found.compatible,
        **asdict(found),
        "metric": metric,
        "num_pairs": len(issame),
        "tolerance_across_runtimes": TOLERANCE,
        "faces": str(args.faces),
        "old": {"model": str(args.old), "backend": args.old_backend, "trunk": old.trunk_fingerprint},
        "new": {"model": str(args.new), "backend": args.new_backend, "trunk": new.trunk_fingerprint},
    }
    if not np.isfinite(found.difference):  # which JSON does not know
        content["difference"] = None
    if args.output is not None:
        write_result(args.output, content)
    if args.json:
        options.print_json(content)
    else:
        _print(found, f"{metric}, {len(issame)} pairs", same_runtime, old.canonical_size)
    return 0 if found.compatible else _NOT_COMPATIBLE


def _print(found: Compatibility, measured: str, same_runtime: bool, size: int) -> None:
    if found.problem is not None:
        show(f"not comparable: {found.problem}")
    else:
        rows = []
        for one in found.criteria:
            answer = "yes" if one.satisfied else "no"
            if one.satisfied and one.new_old <= one.old_old:
                answer = "same embeddings"
            rows.append((str(one.resolution), f"{100 * one.new_old:.2f}", f"{100 * one.old_old:.2f}", answer))
        columns = ("probe, px", "M(new, old)", "M(old, old)", "satisfied")
        show_table(f"{measured}, gallery at {size} px", columns, rows, text=())
        known = "equal bit for bit" if found.identical else f"differ by up to {found.difference:.1e}"
        kind = "one runtime: equal bits expected" if same_runtime else "two runtimes: less than 1e-4 expected"
        show(f"embeddings at {size} px {known} ({kind})")
    show("compatible" if found.compatible else "NOT compatible")
