"""Set up a checkout of arcface_torch to run with what is installed and to train branches; or undo it."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from btnet.console import show
from btnet.interop.arcface_edits import installed
from btnet.interop.arcface_setup import PlannedFile, find_checkout, plan, undo, write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet arcface-setup`."""
    parser.add_argument(
        "checkout",
        type=Path,
        metavar="CHECKOUT",
        help="folder recognition/arcface_torch of a checkout of InsightFace",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="print what does not run here; change nothing")
    what.add_argument("--undo", action="store_true", help="undo all changes")


def run(args: argparse.Namespace) -> int:
    """Check, change, or undo; 1 if a check finds what does not run, or a file had to be left as it was."""
    checkout = find_checkout(args.checkout)
    if args.undo:
        files = undo(checkout)
        for file in files:
            write(file)
            show(f"{file.name}: as it was")
        show(f"{len(files)} files restored")
        return 0
    files = plan(checkout, installed())
    left = [file for file in files if file.obstacle]
    if args.check:
        _report(files)
        return int(bool(files))
    changed = [file for file in files if file.new != file.old]
    for file in changed:
        for line in file.difference().splitlines():
            show(line)
        write(file)
    for file in left:
        show(f"{file.name}: left whole, {file.obstacle}; upstream has changed it, edit it by hand")
    show(f"{len(changed)} files changed; undo it with `btnet arcface-setup {args.checkout} --undo`")
    return int(bool(left))


def _report(files: list[PlannedFile]) -> None:
    for file in files:
        for finding in file.findings:
            show(f"{file.name}, {finding}")
        if file.obstacle:
            show(f"{file.name}: not as expected, {file.obstacle}; upstream has changed it")
    if not torch.cuda.is_available():
        show(
            "no CUDA here: train_v2.py and eval_ijbc.py need a GPU; `btnet train` takes the same configs on a CPU"
        )
    show(f"{len(files)} files to change" if files else "nothing to change")
