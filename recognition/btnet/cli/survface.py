"""Evaluate on QMUL-SurvFace: open-set 1:N identification, or 1:1 verification, of native faces."""

from __future__ import annotations

import argparse
from typing import Any

from btnet.cli.benchmark import percent, show_too_few
from btnet.cli.native_benchmark import Embedded, NativeBenchmark, add_native_arguments
from btnet.console import show, show_table
from btnet.public_sets.native_sets import read_survface_identification, read_survface_verification
from btnet.serving.results import plain

_FPIRS = (0.3, 0.2, 0.1, 0.01)
_FARS = (0.3, 0.1, 0.01, 0.001)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet survface`."""
    parser.add_argument(
        "--task",
        choices=("identification", "verification"),
        default="identification",
        help="1:N with Face_Identification_Test_Set, or 1:1 with Face_Verification_Test_Set (default: %(default)s)",
    )
    add_native_arguments(parser, strategy="all")


def run(args: argparse.Namespace) -> None:
    """Score each model under each strategy, print the tables, write what was asked for.

    Raises:
        ValueError: for damaged lists or models, unreadable images, a probe without gallery mate.
        FileNotFoundError, NotADirectoryError: for a missing part of the data set, or a model.
    """
    if args.task == "identification":
        _identification(args)
    else:
        _verification(args)


def _identification(args: argparse.Namespace) -> None:
    from btnet.evaluation.identification import open_set, open_set_survface
    from btnet.evaluation.rates import measurable
    from btnet.evaluation.templates import identity_means

    faces = read_survface_identification(args.root)
    benchmark = NativeBenchmark(args, faces.images, faces.checksum)

    def score(embedded: Embedded) -> list[dict[str, Any]]:
        prototypes, people = identity_means(*embedded.group(faces.groups["gallery"]))
        mated, mated_ids = embedded.group(faces.groups["mated"])
        unmated, _ = embedded.group(faces.groups["unmated"])
        results = []
        for name, scorer in (("exact", open_set), ("1000 thresholds", open_set_survface)):
            found = scorer(prototypes, people, mated, mated_ids, unmated, fpirs=_FPIRS)
            results.append(
                {
                    "scorer": name,
                    "tpir20": plain(measurable(found.tpir, found.num_unmated)),
                    "fpir_reached": plain(found.fpir),
                    "auc": found.auc,
                    "num_mated": found.num_mated,
                    "num_unmated": found.num_unmated,
                    "num_people": len(people),
                }
            )
        return results

    results = benchmark.score(score)
    benchmark.write(
        "survface",
        faces.name,
        {"gallery": "mean of un-normalised embeddings per identity", "rank": 20},
        {f"num_{name}": len(group.ids) for name, group in faces.groups.items()},
        results,
    )
    for name, meaning in (
        ("exact", "the largest FPIR that does not exceed the target"),
        ("1000 thresholds", "the nearest of 1000 even thresholds, as the authors' code counts"),
    ):
        rows = [
            [r["model"], r["strategy"], percent(r["auc"]), *(percent(r["tpir20"][f"{f:g}"]) for f in _FPIRS)]
            for r in results
            if r["scorer"] == name
        ]
        columns = ["model", "strategy", "AUC", *(f"TPIR20 @ {fpir:g}" for fpir in _FPIRS)]
        show_table(f"{faces.name}, %: {meaning}", columns, rows, text=(0, 1))
    show_too_few(_FPIRS, (r["num_unmated"] for r in results), "FPIR")
    show(f"{benchmark.closing_words()} Gallery: mean of the un-normalised embeddings of each person.")


def _verification(args: argparse.Namespace) -> None:
    from btnet.evaluation.rates import measurable
    from btnet.evaluation.verification import kfold_accuracy, pair_scores, roc_auc, tar_at_fars

    pairs = read_survface_verification(args.root)
    benchmark = NativeBenchmark(args, pairs.images, pairs.checksum)

    def score(embedded: Embedded) -> list[dict[str, Any]]:
        first, second, issame = embedded.pairs(pairs.first, pairs.second, pairs.issame)
        accuracy, std = kfold_accuracy(first, second, issame, pairs.num_folds)
        scores = pair_scores(first, second)
        num_impostors = int((~issame).sum())
        return [
            {
                "tar_at_far": plain(measurable(tar_at_fars(scores, issame, _FARS), num_impostors)),
                "num_impostors": num_impostors,
                "auc": roc_auc(scores, issame),
                "accuracy": accuracy,
                "std": std,
                "num_scored": len(issame),
            }
        ]

    results = benchmark.score(score)
    benchmark.write(
        "survface-verification",
        pairs.name,
        {"folds": "10, of positive and negative pairs in turns"},
        {"num_pairs": len(pairs.issame), "num_same": int(pairs.issame.sum())},
        results,
    )
    columns = ["model", "strategy", *(f"TAR @ {far:g}" for far in _FARS), "AUC", "accuracy"]
    rows = [
        [
            r["model"],
            r["strategy"],
            *(percent(r["tar_at_far"][f"{far:g}"]) for far in _FARS),
            percent(r["auc"]),
            f"{percent(r['accuracy'])} ± {percent(r['std'])}",
        ]
        for r in results
    ]
    show_table(f"{pairs.name}, {len(pairs.issame)} pairs, %", columns, rows, text=(0, 1))
    show_too_few(_FARS, (r["num_impostors"] for r in results))
    show(benchmark.closing_words())
