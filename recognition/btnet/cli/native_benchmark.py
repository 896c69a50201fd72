"""What SurvFace, TinyFace and SCFace share: native faces, selection strategies, one pass over the images a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from btnet.cli import options
from btnet.cli.benchmark import (
    add_feature_arguments,
    add_model_arguments,
    finish,
    load_models,
    on_device,
    percent,
    settle_unreadable,
    views_of,
)
from btnet.console import progress_bar, show, show_table
from btnet.public_sets.image_sets import IdentificationSet, PairSet
from btnet.serving.feature_pass import image_sizes
from btnet.serving.native_features import NativeFeatures, embed_native_set
from btnet.serving.native_scores import RANKS, Embedded, Entries, score_closed_set
from btnet.serving.results import describe_model, result_document
from btnet.serving.selection import parse_strategies

__all__ = ["NativeTask", "add_native_arguments", "run_closed_set", "run_native"]


def add_native_arguments(parser: argparse.ArgumentParser, *, strategy: str = "max+ceil") -> None:
    """Declare the options of a benchmark of native faces."""
    add_model_arguments(parser)
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="the data set's folder")
    options.add_strategy(parser, strategy, "; or several, such as max+ceil,avg+near; or all, the nine")
    options.add_mirror(parser)
    add_feature_arguments(parser)


@dataclass(frozen=True)
class NativeTask:
    """What one benchmark of native faces measures.

    Attributes:
        name: as result files call it.
        faces: the set.
        protocol: what the numbers mean, by option.
        facts: counts of the set.
        score: embeddings under one strategy -> entries of the result file, without model and strategy.
        show_tables: prints all entries.
        note: ends the last line.
    """

    name: str
    faces: IdentificationSet | PairSet
    protocol: Mapping[str, Any]
    facts: Mapping[str, int]
    score: Callable[[Embedded], Entries]
    show_tables: Callable[[Sequence[Mapping[str, Any]]], None]
    note: str = ""


def run_native(task: NativeTask, args: argparse.Namespace) -> None:
    """Embed with each model, score under each strategy, print tables, write what was asked for."""
    loaded, strategies, faces = load_models(args), parse_strategies(args.strategy), task.faces
    with progress_bar("reading", len(faces.images)) as progress:
        sizes, lost = image_sizes(faces.images, num_workers=args.workers, progress=progress)
    unreadable = settle_unreadable(lost, faces.images, args)
    readable = sizes.min(axis=1) > 0
    entries: Entries = []
    described: list[dict[str, Any]] = []
    idle: list[str] = []
    with on_device(args, loaded.models):
        for model, path in zip(loaded.models, loaded.paths, strict=True):
            with progress_bar(model.name, len(faces.images)) as progress:
                features = embed_native_set(
                    model,
                    faces.images,
                    sizes,
                    strategies,
                    args.features,
                    checksum=faces.checksum,
                    interpolation=model.views,
                    mirror=args.mirror,
                    batch_size=args.batch_size,
                    num_workers=args.workers,
                    progress=progress,
                )
            described.append(describe_model(model, path, features.files))
            idle += [f"{model.name} at {r} px" for r in model.resolutions if r not in features.files]
            for head, scored in _by_strategy(features, readable, task.score):
                entries += [{"model": model.name, **head, **entry} for entry in scored]
    embedding = "image plus mirror" if args.mirror else "image alone"
    of_set = {"name": faces.name, "sha256": faces.checksum, "num_images": len(faces.images)}
    document = result_document(
        task.name,
        protocol={"selection": "by native size", "embedding": embedding, **task.protocol},
        interpolation=views_of(loaded.models),
        models=described,
        sets=[{**of_set, "unreadable": unreadable, **task.facts, "results": entries}],
    )
    if not finish(args, document):
        return
    task.show_tables(entries)
    skipped = f"; {len(unreadable)} unreadable images left out" if unreadable else ""
    unseen = f" No face was seen by {', '.join(idle)}: no size selects it." if idle else ""
    show(f"Native faces resized by {views_of(loaded.models)}; {embedding}{skipped}.{unseen} {task.note}")


def _by_strategy(
    features: NativeFeatures, readable: np.ndarray, score: Callable[[Embedded], Entries]
) -> list[tuple[dict[str, Any], Entries]]:
    found = []
    scored: dict[bytes, Entries] = {}
    for strategy, chosen in features.chosen.items():
        # A model of one resolution has one answer to all nine.
        same = chosen.tobytes()
        if same not in scored:
            scored[same] = score(Embedded(features.of(strategy), readable))
        used = zip(*np.unique(chosen[readable], return_counts=True), strict=True)
        head = {"strategy": strategy.label, "faces_by_resolution": {str(r): int(n) for r, n in used}}
        found.append((head, scored[same]))
    return found


def run_closed_set(
    name: str, faces: IdentificationSet, probe_groups: Sequence[str], args: argparse.Namespace
) -> None:
    """Closed-set 1:N identification: what TinyFace and SCFace are scored by.

    Args:
        name: as result files call the task.
        faces: the set, with a group "gallery".
        probe_groups: names of its groups of probes.
        args: of `add_native_arguments`.
    """

    def show_tables(entries: Sequence[Mapping[str, Any]]) -> None:
        columns = ["model", "strategy", "probes", *(f"rank-{k}" for k in RANKS), "mAP", "mAP (kit)"]
        rows = [
            [e["model"], e["strategy"], e["probes"]]
            + [percent(rate) for rate in (*e["rank"].values(), e["map"], e["map_trapezoid"])]
            for e in entries
        ]
        show_table(f"{faces.name}, %", columns, rows, text=(0, 1, 2))

    task = NativeTask(
        name,
        faces,
        {"gallery": "every image by itself", "ranks": list(RANKS)},
        {f"num_{group}": len(each.ids) for group, each in faces.groups.items()},
        lambda embedded: score_closed_set(embedded, faces.groups, probe_groups),
        show_tables,
        "mAP (kit): by trapezoids, as TinyFace's kit counts.",
    )
    run_native(task, args)
