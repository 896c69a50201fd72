"""Evaluate on QMUL-SurvFace: open-set 1:N identification, or 1:1 verification, of native faces."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from btnet.cli.benchmark import percent, show_too_few
from btnet.cli.native_benchmark import NativeTask, add_native_arguments, run_native
from btnet.console import show_table
from btnet.public_sets.native_sets import read_survface_identification, read_survface_verification
from btnet.serving.native_scores import FARS, FPIRS, score_pairs, score_survface

_SCORERS = {
    "exact": "the largest FPIR that does not exceed the target",
    "1000 thresholds": "the nearest of 1000 even thresholds, as the authors' code counts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet survface`."""
    add_native_arguments(parser, strategy="all")
    parser.add_argument(
        "--task",
        choices=("identification", "verification"),
        default="identification",
        help="1:N with Face_Identification_Test_Set, or 1:1 with Face_Verification_Test_Set (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Score each model under each strategy."""
    run_native((_identification if args.task == "identification" else _verification)(args), args)


def _identification(args: argparse.Namespace) -> NativeTask:
    faces = read_survface_identification(args.root)

    def show_tables(entries: Sequence[Mapping[str, Any]]) -> None:
        columns = ["model", "strategy", "AUC", *(f"TPIR20 @ {fpir:g}" for fpir in FPIRS)]
        for scorer, meaning in _SCORERS.items():
            rows = [
                [e["model"], e["strategy"], percent(e["auc"]), *map(percent, e["tpir20"].values())]
                for e in entries
                if e["scorer"] == scorer
            ]
            show_table(f"{faces.name}, %: {meaning}", columns, rows, text=(0, 1))
        show_too_few(FPIRS, (e["num_unmated"] for e in entries), "FPIR")

    return NativeTask(
        "survface",
        faces,
        {"gallery": "mean of un-normalised embeddings per identity", "rank": 20},
        {f"num_{name}": len(group.ids) for name, group in faces.groups.items()},
        lambda embedded: score_survface(embedded, faces.groups),
        show_tables,
        "Gallery: mean of the un-normalised embeddings of each person.",
    )


def _verification(args: argparse.Namespace) -> NativeTask:
    pairs = read_survface_verification(args.root)

    def show_tables(entries: Sequence[Mapping[str, Any]]) -> None:
        columns = ["model", "strategy", *(f"TAR @ {far:g}" for far in FARS), "AUC", "accuracy"]
        rows = [
            [
                *(e["model"], e["strategy"]),
                *map(percent, (*e["tar_at_far"].values(), e["auc"])),
                f"{percent(e['accuracy'])} ± {percent(e['std'])}",
            ]
            for e in entries
        ]
        show_table(f"{pairs.name}, {len(pairs.issame)} pairs, %", columns, rows, text=(0, 1))
        show_too_few(FARS, (e["num_impostors"] for e in entries))

    return NativeTask(
        "survface-verification",
        pairs,
        {"folds": "10, of positive and negative pairs in turns"},
        {"num_pairs": len(pairs.issame), "num_same": int(pairs.issame.sum())},
        lambda embedded: score_pairs(embedded, pairs),
        show_tables,
    )
