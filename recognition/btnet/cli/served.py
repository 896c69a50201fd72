"""`btnet evaluate --served`: each model against its trunk alone, by the size of the probe."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from btnet.cli import options
from btnet.cli.benchmark import LoadedModels, finish, on_device, views_of
from btnet.console import progress_bar, show_table
from btnet.data.faces import open_faces
from btnet.data.pairs import stack_faces
from btnet.evaluation.served import ServedPoint
from btnet.serving.results import describe_model, result_document
from btnet.serving.served import served_curve

__all__ = ["add_served_arguments", "evaluate_served"]


def add_served_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the served curve."""
    parser.add_argument(
        "--served",
        metavar="FROM-TO[:STEP]",
        help="instead of --pairs: --faces as a gallery against probes of such sizes in px (6-40: every 2 px), each "
        "model as it is served beside its trunk alone",
    )
    options.add_faces(parser, "with --served, held-out people; one folder for all: no identities")
    parser.add_argument("--curve", type=Path, metavar="X.png", help="draw the served curve")


def evaluate_served(loaded: LoadedModels, args: argparse.Namespace) -> None:
    """Print each model's curve, draw and write what was asked for.

    Raises:
        ValueError, FileNotFoundError: for sizes that are none, or faces that are missing, not aligned or too few.
    """
    match = re.fullmatch(r"(\d+)-(\d+)(?::([1-9]\d*))?", args.served, re.ASCII)
    sizes = range(int(match[1]), int(match[2]) + 1, int(match[3] or 2)) if match else range(0)
    if not sizes or sizes[0] < 1 or args.faces is None:
        raise ValueError(f"--served {args.served}: expected sizes in px such as 6-40 or 6-40:4, and --faces")
    faces, models = open_faces(args.faces), loaded.models
    images = stack_faces(faces, np.arange(len(faces)), models[0].canonical_size)
    # One folder for all faces, or for each, says nothing about people.
    labels = None if faces.num_classes in (1, len(faces)) else faces.labels
    truth = "agreement with the trunk's verdicts at full size" if labels is None else "10-fold accuracy"
    curves = {}
    with on_device(args, models):
        for model in models:
            with progress_bar(model.name, len(images) * (1 + 2 * len(sizes))) as progress:
                curves[model.name] = served_curve(
                    model, images, labels, sizes, batch_size=args.batch_size, progress=progress
                )
    name = Path(args.faces).name
    results = [{"model": each, **point.as_dict()} for each, points in curves.items() for point in points]
    described = [describe_model(*each, sizes) for each in zip(models, loaded.paths, strict=True)]
    shown = {"name": name, "fingerprint": faces.fingerprint(), "num_faces": len(faces), "results": results}
    to_print = finish(args, result_document(
        "served", protocol=truth, interpolation=views_of(models), models=described, sets=[shown]
    ))  # fmt: skip
    for model_name, points in curves.items():
        if to_print:
            columns = ["probe", model_name, "trunk alone", "difference (95 %)", "the model is", "served by"]
            show_table(f"{truth}, %, full-size gallery", columns, map(_row, points), text=(0, 4, 5))
        if args.curve is not None:
            from btnet.evaluation.plots import plot_served

            path = args.curve.with_stem(f"{args.curve.stem}_{model_name}") if len(curves) > 1 else args.curve
            plot_served(points, path, model=model_name, title=f"{name}: {truth}")


def _row(point: ServedPoint) -> list[str]:
    found = (
        point.accuracy,
        point.trunk_accuracy,
        point.difference.mean,
        point.difference.low,
        point.difference.high,
    )
    model, trunk, mean, low, high = (100 * each for each in found)
    difference = f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
    return [f"{point.size} px", f"{model:.1f}", f"{trunk:.1f}", difference, point.verdict, point.network]
