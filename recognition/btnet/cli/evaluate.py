"""Verify models on .bin pair sets, at one resolution and across resolutions."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from btnet.data.atomic import replacing
from btnet.data.bin_sets import read_bin
from btnet.data.interpolation import INTERPOLATIONS
from btnet.evaluation.plots import Curve, plot_roc
from btnet.evaluation.verification import roc_curve
from btnet.inference.model_folder import EvaluatedModel, load_model
from btnet.inference.verification_report import SetResults, print_report, report, sha256
from btnet.inference.verify import Pair, answers, parse_pair, verify
from btnet.training.distributed import distributed_context


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet evaluate`."""
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="run folder (trunk and branches), or a trunk's .pt file"
    )
    parser.add_argument(
        "--bin", nargs="+", type=Path, required=True, metavar="SET.bin", help="verification sets"
    )
    parser.add_argument(
        "--pairs",
        default="112-112,112-14,14-14",
        help="resolutions of the first and the second image of each pair (default: %(default)s)",
    )
    parser.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="bilinear",
        help="how faces are resized (default: %(default)s, as the paper's code does)",
    )
    parser.add_argument(
        "--high-resolution",
        type=Path,
        metavar="MODEL",
        help="phi_hr, for the canonical side of models that take one low resolution only (phi_mm)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, help="images per forward pass (default: %(default)s)"
    )
    parser.add_argument("--device", default="", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--output", "-o", type=Path, metavar="X.json", help="write the results here too")
    parser.add_argument(
        "--roc", type=Path, metavar="X.png", help="draw ROC curves: X_SET_112-14.png per set and pair"
    )


def run(args: argparse.Namespace) -> None:
    """Verify each model on each set, print tables, write what was asked for.

    Raises:
        ValueError: for a pair that no model has networks for, or files that are damaged.
        FileNotFoundError: if a model or set is not there.
    """
    pairs = list(dict.fromkeys(parse_pair(text) for text in args.pairs.split(",")))
    models = [load_model(path, high_resolution=args.high_resolution) for path in args.models]
    models = _tell_apart(models, args.models)
    for pair in pairs:
        if not any(answers(model, pair) for model in models):
            raise ValueError(
                f"pair {pair[0]}-{pair[1]}: no model given has networks for both sizes; leave it out, or "
                "give phi_hr with --high-resolution"
            )
    _warn_of_other_views(models, args.interpolation)
    with distributed_context(args.device) as context:
        for model in models:
            model.model.to(context.device)
            if model.high_resolution is not None:
                model.high_resolution.to(context.device)
        sets = [_verify_set(path, models, pairs, args) for path in args.bin]
    print_report(sets, pairs, args.interpolation)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        content = report(sets, pairs, models, args.models, args.interpolation)
        with replacing(args.output) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    if args.roc is not None:
        for results in sets:
            _draw(results, pairs, args.roc)


def _tell_apart(models: list[EvaluatedModel], paths: Iterable[str]) -> list[EvaluatedModel]:
    names = [model.name for model in models]
    return [
        replace(model, name=f"{model.name} ({path})") if names.count(model.name) > 1 else model
        for model, path in zip(models, paths, strict=True)
    ]


def _warn_of_other_views(models: Iterable[EvaluatedModel], interpolation: str) -> None:
    for model in models:
        if model.interpolation not in (None, interpolation):
            print(
                f"btnet: warning: {model.name} was trained on {model.interpolation} views and is evaluated "
                f"on {interpolation} ones; --interpolation {model.interpolation} shows it at its best",
                file=sys.stderr,
            )


def _verify_set(
    path: Path, models: list[EvaluatedModel], pairs: list[Pair], args: argparse.Namespace
) -> SetResults:
    images, issame = read_bin(path)
    by_model = {}
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        for model in models:
            known = [pair for pair in pairs if answers(model, pair)]
            num_images = len(issame) * len({(side, pair[side]) for pair in known for side in (0, 1)})
            task = progress.add_task(f"{path.stem}: {model.name}", total=num_images)
            by_model[model.name] = verify(
                model,
                images,
                issame,
                known,
                interpolation=args.interpolation,
                batch_size=args.batch_size,
                progress=lambda done, task=task: progress.advance(task, done),  # type: ignore[misc]
            )
    return SetResults(path, sha256(path), issame, by_model)


def _draw(results: SetResults, pairs: Iterable[Pair], path: Path) -> None:
    for pair in pairs:
        curves: dict[str, Curve] = {}
        for name, found in results.by_model.items():
            for result in found:
                if result.pair == pair:
                    far, tar, _ = roc_curve(result.scores, results.issame)
                    curves[name] = (far, tar)
        picture = f"{path.stem}_{results.path.stem}_{pair[0]}-{pair[1]}.png"
        plot_roc(curves, path.with_name(picture), title=f"{results.path.stem}, {pair[0]}&{pair[1]}")
