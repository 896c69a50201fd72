"""Verify native faces, small when taken: every selection strategy, the learnt selector, fusion; or make the set."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from btnet.cli import options
from btnet.cli.benchmark import add_model_arguments, finish, load_models, on_device, show_too_few, views_of
from btnet.console import progress_bar, show, show_table
from btnet_lab.native_test.scene import Conditions

_RANGES = tuple(field.name for field in fields(Conditions) if isinstance(field.default, tuple))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab native-test`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--set", type=Path, metavar="X.npz", help="a native set that was made before")
    options.add_faces(source, "aligned 112 px faces to photograph")
    parser.add_argument("--make", type=Path, metavar="X.npz", help="keep the set that is made of --faces")
    parser.add_argument(
        "--num-pairs",
        type=int,
        default=2000,
        help="draw so many where --faces is no .bin (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of pairs and photographs (default: %(default)s)")
    add_conditions(parser)
    options.add_selector(parser)
    options.add_mirror(parser)
    add_model_arguments(parser)


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """Declare under which conditions faces are photographed."""
    for name in _RANGES:
        low, high = getattr(Conditions, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            nargs=2,
            type=float,
            default=(low, high),
            metavar=("LOW", "HIGH"),
            help=f"of the photographs (default: {low:g} {high:g})",
        )


def conditions_of(args: argparse.Namespace) -> Conditions:
    """What `add_conditions` declared."""
    ranges: dict[str, Any] = {name: tuple(getattr(args, name)) for name in _RANGES}
    return Conditions(**ranges)


def run(args: argparse.Namespace) -> None:
    """Make or read the set; score every model under every choice, print the tables, write what was asked for."""
    from btnet.data.pairs import read_pairs
    from btnet.files.digest import sha256
    from btnet_lab.native_test.native_set import NativeSet, capture_pairs
    from btnet_lab.native_test.strategies import (
        FARS,
        embed_natively,
        native_choices,
        native_document,
        native_rows,
        score_choices,
    )

    if args.make is None and not args.models:
        raise ValueError("nothing to do: give models to test, or keep the set with --make X.npz")
    if args.set is not None:
        if args.make is not None:
            raise ValueError(f"--make {args.make}: makes a set of --faces; {args.set} is made already")
        pairs, checksum = NativeSet.load(args.set), sha256(args.set)
    else:
        images, issame = read_pairs(args.faces, args.num_pairs, seed=args.seed)
        with progress_bar("photographing", len(issame)) as progress:
            pairs = capture_pairs(
                images,
                issame,
                conditions_of(args),
                seed=args.seed,
                source=Path(args.faces).name,
                progress=progress,
            )
        checksum = pairs.digest()
        if args.make is not None:
            pairs.save(args.make)
            show(f"{args.make}: {len(pairs.issame)} pairs", error=args.json)
    if not args.models:
        return
    selector = options.selector_of(args)
    loaded = load_models(args)
    scores = {}
    with on_device(args, loaded.models):
        for model in loaded.models:
            with progress_bar(model.name, len(pairs.issame) * (1 + len(model.resolutions))) as progress:
                gallery, probes = embed_natively(
                    model,
                    pairs,
                    batch_size=args.batch_size,
                    mirror=args.mirror,
                    progress=progress,
                )
            choices = native_choices(pairs, model.resolutions, selector)
            scores[model.name] = score_choices(gallery, probes, pairs, choices)
    document = native_document(
        pairs,
        scores,
        loaded.models,
        loaded.paths,
        name=args.set.stem if args.set else Path(args.faces).name,
        checksum=checksum,
        interpolation=views_of(loaded.models),
        mirror=args.mirror,
        selector=None if selector is None else {"cuts": dict(selector.cuts), **selector.about},
    )
    if not finish(args, document):
        return
    for model in loaded.models:
        networks = " / ".join(map(str, model.resolutions))
        columns = ["choice", "accuracy", *(f"TAR @ {far:g}" for far in FARS)]
        columns += ["AUC", "sharp", "blurred", f"share of {networks} px"]
        show_table(
            f"{model.name}, {len(pairs.issame)} native pairs, %", columns, native_rows(scores[model.name])
        )
    show_too_few(FARS, [int((~pairs.issame).sum())])
