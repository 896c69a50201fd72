"""Evaluate on IJB-C or IJB-B: 1:1 verification and 1:N identification of templates, at and across resolutions."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from btnet.cli.benchmark import (
    LoadedModels,
    add_feature_arguments,
    add_model_arguments,
    add_network_argument,
    load_models,
    percent,
    settle_unreadable,
    show_too_few,
    views_of,
)
from btnet.console import progress_bar, show, show_table
from btnet.evaluation.summary import gain_text, gains
from btnet.public_sets.ijb import (
    IJB,
    read_galleries_and_probes,
    read_ijb,
    read_template_pairs,
)
from btnet.serving.feature_file import FeatureFile
from btnet.serving.ijb_features import ALIGNMENTS, Seen, embed_ijb
from btnet.serving.ijb_scores import FARS, FPIRS, RANKS, score_templates
from btnet.serving.model_folder import EvaluatedModel
from btnet.serving.results import describe_model, result_document, write_result
from btnet.serving.verify import answers, pair_label, parse_pair
from btnet.training.distributed import distributed_context

if TYPE_CHECKING:
    from btnet.evaluation.templates import TemplateOptions

_TASKS = ("verification", "identification")
# Where the paper reads gains off (Tables 10 and 11).
_GAIN_FAR, _GAIN_FPIR = 1e-4, 0.1

Pair = tuple[int, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet ijbc`."""
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="with loose_crop and meta, as insightface has them",
    )
    parser.add_argument(
        "--pairs",
        default="112-112,112-14,14-14",
        help="resolutions that are aggregated: of each image, f at the first one plus f of its mirror image at "
        "the second (default: %(default)s)",
    )
    parser.add_argument("--tasks", nargs="+", choices=_TASKS, default=_TASKS, help="1:1, 1:N (default: both)")
    parser.add_argument(
        "--preset",
        choices=("authors", "insightface"),
        default="authors",
        help="authors: N0 D1 F1; insightface: N1 D1 F1, nearest FAR (default: %(default)s); the next four change it",
    )
    for name, meaning in (
        ("norm-score", "N1: an image counts by the length of its feature"),
        ("detector-score", "D1: an image counts by its detector score"),
        ("flip", "F1: the mirror image is added"),
    ):
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=meaning)
    parser.add_argument(
        "--nearest-far",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="1:1: read TAR off at the nearest FAR of the ROC, which may lie above the target, as insightface does; or "
        "at the largest that does not exceed it (default: with the preset insightface)",
    )
    parser.add_argument(
        "--alignment",
        choices=ALIGNMENTS,
        default="canonical",
        help="canonical: aligned at 112 px, then shrunk, as the authors evaluate; direct: aligned at the resolution "
        "itself, as serving does (default: %(default)s)",
    )
    parser.add_argument("--roc", type=Path, metavar="X.png", help="draw ROC curves: X_112-14.png per pair")
    add_network_argument(parser)
    add_model_arguments(parser)
    add_feature_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Embed, pool, score; print tables, write what was asked for.

    Raises:
        ValueError: for a pair that no model has networks for, damaged lists, unreadable images.
        FileNotFoundError, NotADirectoryError: for a missing part of the data set, or a model.
    """
    from btnet.evaluation.templates import PRESETS

    chosen = {
        name: getattr(args, name)
        for name in ("norm_score", "detector_score", "flip")
        if getattr(args, name) is not None
    }
    options = replace(PRESETS[args.preset], **chosen)
    nearest = args.preset == "insightface" if args.nearest_far is None else bool(args.nearest_far)
    pairs = _sized_pairs(args.pairs)
    if not options.flip and any(first != second for first, second in pairs):
        raise ValueError(
            "without the mirror image (F0) there is one resolution only; give pairs such as 14-14"
        )
    loaded = load_models(args)
    for pair in pairs:
        if not any(answers(model, pair) for model in loaded.models):
            raise ValueError(
                f"pair {pair[0]}-{pair[1]}: no model given has networks for both sizes; leave it out"
            )
    # All lists are read before hours of embedding.
    ijb = read_ijb(args.root)
    template_pairs = read_template_pairs(ijb) if "verification" in args.tasks else None
    searches = read_galleries_and_probes(ijb) if "identification" in args.tasks else None

    entries: list[dict[str, Any]] = []
    described: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    with distributed_context(args.device or "") as context:
        for model in loaded.models:
            model.to(context.device)
            known = [pair for pair in pairs if answers(model, pair)]
            files, lost = _embed(model, ijb, known, options.flip, args)
            unreadable |= lost
            settle_unreadable(lost, ijb.images, args)
            path = loaded.paths[len(described)]
            described.append(describe_model(model, path, dict.fromkeys(r for pair in known for r in pair)))
            for pair in known:
                scored = score_templates(
                    files, pair, ijb, options, template_pairs, searches, sorted(lost), nearest=nearest
                )
                entries.append({"model": model.name, "pair": list(pair), **scored})
    _add_gains(entries, loaded)
    if args.output is not None:
        listed = [
            {"image": ijb.images.names[row], "reason": reason} for row, reason in sorted(unreadable.items())
        ]
        document = result_document(
            "ijbc",
            protocol={
                "templates": asdict(options),
                "label": options.label,
                "far": "nearest" if nearest else "not above the target",
                "alignment": args.alignment,
                "aggregation": "of each image, f at the first resolution plus f of its mirror at the second",
            },
            interpolation=views_of(loaded.models),
            models=described,
            sets=[
                {
                    "name": ijb.name,
                    "sha256": ijb.checksum,
                    "num_images": len(ijb.images),
                    "num_pairs": None if template_pairs is None else len(template_pairs.issame),
                    "num_same": None if template_pairs is None else int(template_pairs.issame.sum()),
                    "num_probes": None if searches is None else len(searches[1].templates),
                    "unreadable": listed,
                    "results": entries,
                }
            ],
        )
        write_result(args.output, document)
    _print(entries, loaded, args, options, ijb)
    if args.roc is not None:
        _draw(entries, args.roc, ijb.name, views_of(loaded.models))


def _sized_pairs(text: str) -> list[Pair]:
    pairs = []
    for word in dict.fromkeys(text.split(",")):
        first, second = parse_pair(word)
        if first is None or second is None:
            raise ValueError(f"resolution pair {word!r}: templates are seen at sizes in px such as 112-14")
        pairs.append((first, second))
    return pairs


def _embed(
    model: EvaluatedModel, ijb: IJB, pairs: Sequence[Pair], flip: bool, args: argparse.Namespace
) -> tuple[dict[Seen, FeatureFile], dict[int, str]]:
    views = dict.fromkeys(Seen(pair[0], False) for pair in pairs)
    if flip:
        views |= dict.fromkeys(Seen(pair[1], True) for pair in pairs)
    with progress_bar(f"{ijb.name}: {model.name}", len(ijb.images)) as progress:
        return embed_ijb(
            model,
            ijb,
            views,
            args.features,
            alignment=args.alignment,
            interpolation=model.views,
            batch_size=args.batch_size,
            num_workers=args.workers,
            progress=progress,
        )


def _add_gains(entries: Sequence[dict[str, Any]], loaded: LoadedModels) -> None:
    """Gains at FAR 1e-4 and FPIR 0.1 (Tables 10, 11), where their baselines are among the models."""
    if loaded.baselines is None:
        return
    for pair in dict.fromkeys(tuple(entry["pair"]) for entry in entries):
        of_pair = {entry["model"]: entry for entry in entries if tuple(entry["pair"]) == pair}
        for name, path in (
            ("tar_at_far", ("tar_at_far", f"{_GAIN_FAR:g}")),
            ("tpir", ("ijb_1n", "tpir", f"{_GAIN_FPIR:g}")),
            ("tpir_standard", ("ijb_1n_standard", "tpir", f"{_GAIN_FPIR:g}")),
        ):
            numbers = {model: _dig(entry, path) for model, entry in of_pair.items() if path[0] in entry}
            for model, value in gains(pair_label(pair), numbers, loaded.baselines).items():
                of_pair[model].setdefault("gain", {})[name] = value


def _dig(entry: Any, path: Sequence[str]) -> float | None:
    for key in path:
        entry = entry[key]
    return None if entry is None else float(entry)


def _print(
    entries: Sequence[Mapping[str, Any]],
    loaded: LoadedModels,
    args: argparse.Namespace,
    options: TemplateOptions,
    ijb: IJB,
) -> None:
    heads = ["model", "pair"]
    has_gains = any("gain" in entry for entry in entries)

    def start(entry: Mapping[str, Any]) -> list[str]:
        return [entry["model"], pair_label(tuple(entry["pair"]))]

    def end(entry: Mapping[str, Any], name: str) -> list[str]:
        return [gain_text(entry.get("gain", {}).get(name))] if has_gains else []

    if "verification" in args.tasks:
        rows = [
            start(e) + [percent(e["tar_at_far"][f"{far:g}"]) for far in FARS] + end(e, "tar_at_far")
            for e in entries
        ]
        columns = heads + [f"{far:g}" for far in FARS] + ["gain at 1e-4"] * has_gains
        show_table(f"{ijb.name} 1:1, TAR at FAR, %", columns, rows, text=(0, 1))
        show_too_few(FARS, (e["num_impostors"] for e in entries))
    if "identification" in args.tasks:
        columns = (
            heads
            + [f"TPIR @ {f:g}" for f in FPIRS]
            + [f"top-{k}" for k in RANKS]
            + ["gain at 0.1"] * has_gains
        )
        for scorer, meaning, name in (
            ("ijb_1n", "galleries joined, threshold from impostors (insightface, the authors)", "tpir"),
            ("ijb_1n_standard", "each gallery apart, true non-mates (the standard)", "tpir_standard"),
        ):
            rows = [
                start(e)
                + [percent(value) for value in (*e[scorer]["tpir"].values(), *e[scorer]["rank"].values())]
                + end(e, name)
                for e in entries
            ]
            show_table(f"{ijb.name} 1:N, %: {meaning}", columns, rows, text=(0, 1))
            show_too_few(FPIRS, (e[scorer]["num_impostors"] for e in entries), "FPIR")
    show(
        f"{options.label}; aligned {'at the resolution itself' if args.alignment == 'direct' else 'at 112 px'}; "
        f"faces resized by {views_of(loaded.models)}; "
        + (loaded.baselines.note if loaded.baselines is not None else "no gains.")
    )


def _draw(entries: Sequence[Mapping[str, Any]], path: Path, name: str, interpolation: str) -> None:
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
