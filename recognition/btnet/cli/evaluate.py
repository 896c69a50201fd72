"""Verify models on .bin sets or LFW-style lists of pairs, at and across resolutions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from btnet.cli import options
from btnet.cli.benchmark import (
    add_model_arguments,
    add_network_argument,
    add_pairs_argument,
    finish,
    load_models,
    on_device,
    parse_pairs,
    picture_path,
    refuse_unanswered,
    settle_unreadable,
    views_of,
)
from btnet.cli.served import add_served_arguments, evaluate_served
from btnet.console import progress_bar
from btnet.data.aligned import need_aligned
from btnet.data.bin_sets import read_bin
from btnet.evaluation.verification import roc_curve
from btnet.files.digest import sha256
from btnet.public_sets.image_sets import read_lfw_pairs
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_pass import read_all
from btnet.serving.verification_report import SetResults, print_gains, print_report, verification_document
from btnet.serving.verify import (
    Pair,
    VerificationResult,
    answers,
    pair_label,
    verify,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet evaluate`."""
    parser.add_argument(
        "--bin",
        nargs="+",
        type=Path,
        default=[],
        metavar="SET.bin",
        help="verification sets; of a folder all, or those that --sets names",
    )
    parser.add_argument(
        "--sets",
        nargs="+",
        metavar="NAME",
        help="verify on these sets of the folder, such as lfw cfp_fp agedb_30",
    )
    parser.add_argument(
        "--pairs-file",
        type=Path,
        metavar="PAIRS.txt",
        help="pairs in LFW's format (LFW, XQLFW), folds as it says",
    )
    parser.add_argument(
        "--root", type=Path, metavar="FOLDER", help="images of --pairs-file: ROOT/NAME/NAME_0001.jpg"
    )
    add_pairs_argument(
        parser,
        "of the first and the second image, each embedded by the network that serving selects for it; `native`: in its "
        "own size; `all`: every resolution against every one",
    )
    options.add_strategy(parser)
    add_network_argument(parser)
    add_model_arguments(parser)
    options.add_skip_unreadable(parser)
    add_served_arguments(parser)
    parser.add_argument(
        "--roc", type=picture_path, metavar="X.png", help="draw ROC curves: X_SET_112-14.png per set and pair"
    )


def run(args: argparse.Namespace) -> None:
    """Verify each model on each set, print tables, write what was asked for."""
    loaded = load_models(args)
    if args.served is not None:
        evaluate_served(loaded, args)
        return
    strategy = options.strategy_of(args)
    models = [replace(model, rule=strategy.rule) for model in loaded.models]
    pairs = _every_pair(models) if args.pairs == "all" else parse_pairs(args.pairs)
    refuse_unanswered(pairs, models)
    views = views_of(models)
    paths = _bin_paths(args)
    with on_device(args, models):
        sets = [_verify_set(path, models, pairs, args) for path in paths]
        if args.pairs_file is not None:
            sets.append(_verify_files(models, pairs, args))
    if finish(args, verification_document(sets, pairs, models, loaded.paths, views)):
        print_report(sets, pairs, views)
        for each in [[results] for results in sets] + [sets] * (len(sets) > 1):
            if loaded.baselines is not None:
                print_gains(each, pairs, loaded.baselines)
    if args.roc is not None:
        for results in sets:
            _draw(results, pairs, args.roc, views)


def _every_pair(models: Iterable[FaceModel]) -> list[Pair]:
    sizes = sorted({size for model in models for size in model.resolutions}, reverse=True)
    return [(first, second) for first in sizes for second in sizes]


def _bin_paths(args: argparse.Namespace) -> list[Path]:
    if not args.bin and args.pairs_file is None:
        raise ValueError("nothing to verify on; give --bin, or --pairs-file with --root")
    if args.pairs_file is not None and args.root is None:
        raise ValueError(f"{args.pairs_file}: where are its images? give their folder with --root")
    paths: list[Path] = []
    for path in args.bin:
        if not path.is_dir():
            paths.append(path)
            continue
        found = {each.stem: each for each in sorted(path.glob("*.bin"))}
        names = list(found) if args.sets is None else args.sets
        missing = [name for name in names if name not in found]
        if missing or not names:
            raise FileNotFoundError(
                f"{path}: no {', '.join(missing) or '*'}.bin; it holds {', '.join(found) or 'none'}"
            )
        paths += [found[name] for name in names]
    return paths


def _verify_set(
    path: Path, models: list[FaceModel], pairs: list[Pair], args: argparse.Namespace
) -> SetResults:
    images, issame = read_bin(path, size=_aligned_size(models, pairs))
    one = partial(verify, images=images, issame=issame)
    by_model = _by_model(path.stem, one, models, pairs, len(images), args)
    return SetResults(path, sha256(path), issame, by_model)


def _verify_files(models: list[FaceModel], pairs: list[Pair], args: argparse.Namespace) -> SetResults:
    listed = read_lfw_pairs(args.pairs_file, args.root)
    with progress_bar("reading", len(listed.images)) as progress:
        images, unreadable = read_all(listed.images, progress=progress)
    skipped = settle_unreadable(unreadable, listed.images, args)
    if (size := _aligned_size(models, pairs)) is not None:
        for index, image in enumerate(images):
            if index not in unreadable:
                need_aligned(image, str(listed.images.root / listed.images.names[index]), size)
    there = ~np.isin([listed.first, listed.second], list(unreadable)).any(axis=0)
    positions, issame = np.stack([listed.first, listed.second], axis=1)[there], listed.issame[there]
    one = partial(verify, images=images, issame=issame, positions=positions, num_folds=listed.num_folds)
    by_model = _by_model(listed.name, one, models, pairs, len(images), args)
    return SetResults(args.pairs_file, listed.checksum, issame, by_model, listed.num_folds, skipped)


def _aligned_size(models: list[FaceModel], pairs: list[Pair]) -> int | None:
    """Of the faces, which must be aligned to be seen at a resolution; None where all are native crops."""
    return None if all(pair == (None, None) for pair in pairs) else models[0].canonical_size


def _by_model(
    name: str,
    one: Callable[..., list[VerificationResult]],
    models: list[FaceModel],
    pairs: list[Pair],
    num_images: int,
    args: argparse.Namespace,
) -> dict[str, list[VerificationResult]]:
    strategy = options.strategy_of(args)
    found = {}
    for model in models:
        known = [pair for pair in pairs if answers(model, pair)]
        num_views = len({side for pair in known for side in pair})
        with progress_bar(f"{name}: {model.name}", num_images * num_views) as progress:
            found[model.name] = one(
                model, pairs=known, strategy=strategy, batch_size=args.batch_size, progress=progress
            )
    return found


def _draw(results: SetResults, pairs: Iterable[Pair], path: Path, interpolation: str) -> None:
    from btnet.evaluation.plots import plot_roc

    for pair in pairs:
        curves = {}
        for name, found in results.by_model.items():
            for result in found:
                if result.pair == pair:
                    far, tar, _ = roc_curve(result.scores, results.issame)
                    curves[name] = (far, tar)
        picture = f"{path.stem}_{results.path.stem}_{pair_label(pair).replace('&', '-')}.png"
        title = f"{results.path.stem}, {pair_label(pair)}, {interpolation}"
        plot_roc(curves, path.with_name(picture), title=title)
