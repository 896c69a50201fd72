"""Evaluate on IJB-C or IJB-B: 1:1 and 1:N of templates, at and across resolutions."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btnet.cli.benchmark import (
    add_feature_arguments,
    add_model_arguments,
    add_network_argument,
    add_pairs_argument,
    finish,
    load_models,
    on_device,
    parse_pairs,
    percent,
    picture_path,
    refuse_unanswered,
    settle_unreadable,
    show_too_few,
    views_of,
)
from btnet.console import progress_bar, show, show_table
from btnet.evaluation.summary import gain_text
from btnet.public_sets.ijb import read_galleries_and_probes, read_ijb, read_template_pairs
from btnet.serving.ijb import ALIGNMENTS, FARS, FPIRS, RANKS
from btnet.serving.ijb_run import IjbProtocol, IjbTasks, add_ijb_gains, run_ijb
from btnet.serving.results import describe_model, result_document
from btnet.serving.verify import answers, pair_label

if TYPE_CHECKING:
    from btnet.evaluation.templates import TemplateOptions

_TASKS = ("verification", "identification")
_SCORERS = {  # of the result file -> what it counts, its gain
    "ijb_1n": ("galleries joined, threshold from impostors (insightface, the authors)", "tpir"),
    "ijb_1n_standard": ("each gallery apart, true non-mates (the standard)", "tpir_standard"),
}

Entries = Sequence[Mapping[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet ijbc`."""
    add_model_arguments(parser)
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="with loose_crop and meta, as insightface has them",
    )
    add_pairs_argument(
        parser, "of each image, f at the first plus f of its mirror image at the second are added up"
    )
    parser.add_argument("--tasks", nargs="+", choices=_TASKS, default=_TASKS, help="1:1, 1:N (default: both)")
    parser.add_argument(
        "--preset",
        choices=("authors", "insightface"),
        default="authors",
        help="authors: N0 D1 F1; insightface: N1 D1 F1, nearest FAR (default: %(default)s); the next four change it",
    )
    for name, meaning in (
        ("norm-score", "N1: weight an image by the length of its feature"),
        ("detector-score", "D1: weight an image by its detector score"),
        ("flip", "F1: add the mirror image"),
        (
            "nearest-far",
            "1:1: read TAR off at the nearest FAR of the ROC, which may lie above the target, as insightface does; or "
            "at the largest that does not exceed it",
        ),
    ):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=meaning)
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default="canonical",
        help="canonical: align at 112 px, then shrink, as the authors evaluate; direct: align at the resolution "
        "itself, as serving does (default: %(default)s)",
    )
    add_network_argument(parser)
    parser.add_argument(
        "--roc", type=picture_path, metavar="X.png", help="draw ROC curves: X_112-14.png per pair"
    )
    add_feature_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Embed, pool, score; print tables, write what was asked for."""
    pairs = _sized_pairs(args.pairs)
    nearest = args.preset == "insightface" if args.nearest_far is None else bool(args.nearest_far)
    protocol = IjbProtocol(_template_options(args), nearest, args.alignment)
    if not protocol.options.flip and any(first != second for first, second in pairs):
        raise ValueError(
            "without the mirror image (F0) there is one resolution only; give pairs such as 14-14"
        )
    loaded = load_models(args)
    refuse_unanswered(pairs, loaded.models)
    # All lists are read before hours of embedding.
    ijb = read_ijb(args.root)
    tasks = IjbTasks(
        ijb,
        read_template_pairs(ijb) if "verification" in args.tasks else None,
        read_galleries_and_probes(ijb) if "identification" in args.tasks else None,
    )
    entries: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    with on_device(args, loaded.models):
        for model, path in zip(loaded.models, loaded.paths, strict=True):
            known = [pair for pair in pairs if answers(model, pair)]
            with progress_bar(f"{ijb.name}: {model.name}", len(ijb.images)) as progress:
                scored, lost = run_ijb(
                    model,
                    tasks,
                    known,
                    protocol,
                    args.features,
                    settle=lambda lost: settle_unreadable(lost, ijb.images, args),
                    batch_size=args.batch_size,
                    num_workers=args.workers,
                    progress=progress,
                )
            entries += scored
            unreadable |= lost
            described.append(describe_model(model, path, dict.fromkeys(r for pair in known for r in pair)))
    if loaded.baselines is not None:
        add_ijb_gains(entries, loaded.baselines)
    counts = {
        "num_images": len(ijb.images),
        "num_pairs": None if tasks.pairs is None else len(tasks.pairs.issame),
        "num_same": None if tasks.pairs is None else int(tasks.pairs.issame.sum()),
        "num_probes": None if tasks.searches is None else len(tasks.searches[1].templates),
        "unreadable": [
            {"image": ijb.images.names[row], "reason": unreadable[row]} for row in sorted(unreadable)
        ],
    }
    views = views_of(loaded.models)
    document = result_document(
        "ijbc",
        protocol=protocol.described(),
        interpolation=views,
        models=described,
        sets=[{"name": ijb.name, "sha256": ijb.checksum, **counts, "results": entries}],
    )
    if finish(args, document):
        _print(entries, args.tasks, ijb.name)
        where = "at the resolution itself" if args.alignment == "direct" else "at 112 px"
        gain = loaded.baselines.note if loaded.baselines is not None else "no gains."
        show(f"{protocol.options.label}; aligned {where}; faces resized by {views}; {gain}")
    if args.roc is not None:
        _draw(entries, args.roc, ijb.name, views)


def _template_options(args: argparse.Namespace) -> TemplateOptions:
    from btnet.evaluation.templates import PRESETS

    chosen = {name: getattr(args, name) for name in ("norm_score", "detector_score", "flip")}
    return replace(PRESETS[args.preset], **{k: value for k, value in chosen.items() if value is not None})


def _sized_pairs(text: str) -> list[tuple[int, int]]:
    pairs = []
    for first, second in parse_pairs(text):
        if first is None or second is None:
            raise ValueError(
                f"--pairs {text}: templates are seen at sizes in px such as 112-14, not natively"
            )
        pairs.append((first, second))
    return pairs


def _print(entries: Entries, tasks: Sequence[str], name: str) -> None:
    has_gains = any("gain" in entry for entry in entries)

    def row(entry: Mapping[str, Any], rates: Sequence[float | None], gain: str) -> list[str]:
        cells = [entry["model"], pair_label(tuple(entry["pair"])), *map(percent, rates)]
        return [*cells, gain_text(entry.get("gain", {}).get(gain))] if has_gains else cells

    if "verification" in tasks:
        columns = ["model", "pair", *(f"{far:g}" for far in FARS), *["gain at 1e-4"] * has_gains]
        rows = [row(entry, [*entry["tar_at_far"].values()], "tar_at_far") for entry in entries]
        show_table(f"{name} 1:1, TAR at FAR, %", columns, rows, text=(0, 1))
        show_too_few(FARS, (entry["num_impostors"] for entry in entries))
    if "identification" in tasks:
        columns = ["model", "pair", *(f"TPIR @ {f:g}" for f in FPIRS), *(f"top-{k}" for k in RANKS)]
        columns += ["gain at 0.1"] * has_gains
        for scorer, (meaning, gain) in _SCORERS.items():
            rows = [
                row(entry, [*entry[scorer]["tpir"].values(), *entry[scorer]["rank"].values()], gain)
                for entry in entries
            ]
            show_table(f"{name} 1:N, %: {meaning}", columns, rows, text=(0, 1))
            show_too_few(FPIRS, (entry[scorer]["num_impostors"] for entry in entries), "FPIR")


def _draw(entries: Entries, path: Path, name: str, interpolation: str) -> None:
    from btnet.evaluation.plots import plot_roc

    for pair in dict.fromkeys(tuple(entry["pair"]) for entry in entries):
        curves = {
            entry["model"]: (np.array(entry["roc"]["far"]), np.array(entry["roc"]["tar"]))
            for entry in entries
            if tuple(entry["pair"]) == pair and "roc" in entry
        }
        if curves:
            picture = path.with_name(f"{path.stem}_{pair[0]}-{pair[1]}.png")
            plot_roc(curves, picture, title=f"{name}, {pair_label(pair)}, {interpolation}")
