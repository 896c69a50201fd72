"""Show the paper's tables in miniature: train, measure and compare every model on faces at hand; resumable."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from btnet.cli import options
from btnet.console import show

if TYPE_CHECKING:
    from btnet_lab.evidence.faces import Source

_TRAIN_LIST, _TEST_PAIRS = "train.txt", "val_pairs.txt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab evidence`."""
    parser.add_argument("--trunk", type=Path, help="pretrained trunk: a .pt file or a run folder")
    parser.add_argument(
        "--faces",
        type=Path,
        help="a .rec file or a folder of identity folders, whose people are split; or where the names of the lists "
        f"start (a folder with {_TRAIN_LIST} and {_TEST_PAIRS} in it needs no further option)",
    )
    parser.add_argument(
        "--list", type=Path, help="faces to train on: lines `archive/identity/name.jpg label`"
    )
    parser.add_argument("--pairs-file", type=Path, help="pairs to test on: lines `face face same`")
    options.add_output(
        parser, "FOLDER", "folder to write (default: %(default)s)", default=Path("runs/evidence")
    )
    parser.add_argument(
        "--full", action="store_true", help="every table and curve, in hours; default: phi_hr and phi_bt"
    )
    parser.add_argument(
        "--known",
        nargs="+",
        type=Path,
        default=[],
        metavar="RESULTS",
        help="folders of result files that other runs wrote: what was measured there is not run again",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="ROW",
        help="rows to run, or single runs of them (bt_r14-s2); the others are left for another run",
    )
    parser.add_argument("--status", action="store_true", help="only show what is done, running and waiting")
    parser.add_argument("--so-far", action="store_true", help="only write the page of what is measured")
    parser.add_argument(
        "--page",
        nargs=2,
        type=Path,
        metavar=("RESULTS", "X.md"),
        help="only write the page of the result files in a folder",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: %(default)s)")
    parser.add_argument(
        "--too-close",
        type=float,
        default=0.55,
        metavar="COSINE",
        help="people to train on whose mean embedding is this close to one to test on are dropped (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--configs", type=Path, default=Path("configs"), help="where evidence_*.py are (default: %(default)s)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="override a key of every training")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run, or tell how far a run is.

    Returns:
        0; 1 if a row failed.
    """
    # Matplotlib and torch's checkpoints take seconds to import: --help need not wait.
    from btnet.files.atomic import only_run
    from btnet.training.removed_keys import refuse_removed
    from btnet_lab.evidence.page import write_page
    from btnet_lab.evidence.rows import full_plan, quick_plan
    from btnet_lab.evidence.runner import Runner

    if args.page is not None:
        for path in write_page(*args.page):
            show(path)
        return 0
    plan = full_plan() if args.full else quick_plan()
    for job in plan.recorded():
        if {job.name, job.row.name} & set(args.only):
            refuse_removed(job.row.removed, f"--only {job.row.name}")
    unknown = set(args.only).difference(*((job.row.name, job.name) for job in plan.jobs()))
    if unknown:
        raise ValueError(
            f"--only {' '.join(sorted(unknown))}: the plan has no such rows; --status lists them"
        )
    runner = Runner(
        _source(args), plan, args.output, configs=args.configs, overrides=args.overrides, known=args.known
    )
    with only_run(args.output) as alone:
        if args.status:
            runner.show_status(alive=not alone)
            return 0
        whole = True
        if not args.so_far:
            if not alone:
                raise ValueError(f"{args.output}: a run is under way there; see how far with --status")
            whole = runner.run(args.only)
        for path in runner.sum_up():
            show(path)
    return 0 if whole else 1


def _source(args: argparse.Namespace) -> Source:
    from btnet_lab.evidence.faces import Source

    if args.trunk is None or args.faces is None:
        raise ValueError("evidence: give a pretrained trunk with --trunk and faces with --faces")
    for path in (args.trunk, args.faces):
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: nothing lies there; give --trunk MODEL.pt and --faces FOLDER or X.rec"
            )
    lists = (args.list, args.pairs_file)
    if lists == (None, None) and args.faces.is_dir():
        found = (args.faces / _TRAIN_LIST, args.faces / _TEST_PAIRS)
        lists = found if all(path.is_file() for path in found) else lists
    if (lists[0] is None) != (lists[1] is None):
        raise ValueError(
            "evidence: --list and --pairs-file go together; give both, or neither to have people split"
        )
    return Source(args.trunk, args.faces, *lists, seed=args.seed, too_close=args.too_close)
