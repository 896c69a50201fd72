"""Check that a new model may probe the gallery an old model embedded; for deployment pipelines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btnet.console import progress_bar, show, show_table
from btnet.files.atomic import replacing

if TYPE_CHECKING:
    from btnet.serving.compatibility import Compatibility

_NOT_COMPATIBLE = 1
_BACKENDS = ("torch", "onnxruntime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet check-compatibility`."""
    parser.add_argument("--old", type=Path, required=True, metavar="MODEL", help="the gallery's model")
    parser.add_argument("--new", type=Path, required=True, metavar="MODEL", help="the probes' model")
    parser.add_argument(
        "--faces",
        required=True,
        metavar="FACES",
        help="pairs of a SET.bin, or labelled faces (X.rec, a folder of identity folders, synthetic:IDS:PER_ID)",
    )
    parser.add_argument(
        "--num-pairs", type=int, default=2000, help="pairs drawn from labelled faces (default: %(default)s)"
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
            f"--{role}-backend", choices=_BACKENDS, default="torch", help="(default: %(default)s)"
        )
    parser.add_argument("--device", help="cpu or cuda (default: cuda where the backend can use one)")
    parser.add_argument(
        "--far", type=float, help="compare true accept rates at this false accept rate (default: accuracy)"
    )
    parser.add_argument("--batch-size", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--output", "-o", type=Path, metavar="X.json", help="write what was found here too")


def run(args: argparse.Namespace) -> int:
    """Check, print a table, write JSON.

    Returns:
        0 if compatible, 1 if not.

    Raises:
        ValueError, FileNotFoundError: for models or faces that are missing or damaged (exit status 2).
    """
    from btnet.data.pairs import read_pairs
    from btnet.serving.backend import load_backend
    from btnet.serving.compatibility import TOLERANCE, check_compatibility

    old = load_backend(args.old, args.old_backend, device=args.device)
    new = load_backend(args.new, args.new_backend, device=args.device)
    resolutions = list(dict.fromkeys(args.resolutions or new.resolutions))
    images, issame = read_pairs(args.faces, args.num_pairs, size=old.canonical_size)
    with progress_bar("embedding", len(issame) * 2 * (1 + len(resolutions))) as progress:
        found = check_compatibility(
            old,
            new,
            images,
            issame,
            resolutions,
            same_runtime=args.old_backend == args.new_backend,
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
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.output) as temporary:
            # JSON knows no infinity.
            content["difference"] = found.difference if np.isfinite(found.difference) else None
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    _print(found, metric, len(issame), args.old_backend == args.new_backend, old.canonical_size)
    return 0 if found.compatible else _NOT_COMPATIBLE


def _print(found: Compatibility, metric: str, num_pairs: int, same_runtime: bool, size: int) -> None:
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
        show_table(f"{metric}, {num_pairs} pairs, gallery at {size} px", columns, rows, text=())
        known = "equal bit for bit" if found.identical else f"differ by up to {found.difference:.1e}"
        kind = "one runtime: equal bits expected" if same_runtime else "two runtimes: less than 1e-4 expected"
        show(f"embeddings at {size} px {known} ({kind})")
    show("compatible" if found.compatible else "NOT compatible")
