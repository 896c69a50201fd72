"""What the commands of the benchmarks share: models, options, progress, unreadable images, the result."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from btnet.cli import options
from btnet.console import show
from btnet.evaluation.rates import too_few
from btnet.evaluation.summary import GainBaselines
from btnet.public_sets.image_sets import ImageFiles
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_matched, load_model
from btnet.serving.results import write_result
from btnet.serving.verify import Pair, answers, parse_pair
from btnet.training.distributed import distributed_context

__all__ = [
    "LoadedModels",
    "add_feature_arguments",
    "add_model_arguments",
    "add_network_argument",
    "add_pairs_argument",
    "finish",
    "load_models",
    "on_device",
    "parse_pairs",
    "percent",
    "picture_path",
    "refuse_unanswered",
    "settle_unreadable",
    "show_too_few",
    "views_of",
]


@dataclass(frozen=True)
class LoadedModels:
    """Models of one comparison.

    Attributes:
        models: in the order of the tables, names all different.
        paths: where each came from, as the user named it.
        baselines: what gains are measured by; None where neither phi_mr nor phi_mm was given.
    """

    models: list[FaceModel]
    paths: list[str]
    baselines: GainBaselines | None


def picture_path(text: str) -> Path:
    """Where a picture goes; without the package that draws it the command ends before it computes anything."""
    import btnet.evaluation.plots  # noqa: F401

    return Path(text)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the models and how they see faces."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help=f"{options.MODEL_HELP}: phi_bt, phi_mr ...",
    )
    parser.add_argument(
        "--high-resolution",
        metavar="MODEL",
        help="phi_hr: gains start from it, and it embeds the 112 px side for models of one low resolution",
    )
    parser.add_argument(
        "--phi-mm",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="phi_mm, one model for each low resolution, shown as one: the measure of gains at one resolution (eq. 5); "
        "needs --high-resolution",
    )
    parser.add_argument(
        "--phi-mr",
        metavar="MODEL",
        help="phi_mr: the measure of gains across resolutions (eq. 4); needs --high-resolution",
    )
    options.add_output(parser, "X.json", "write the results here too", required=False)
    options.add_json(parser)
    options.add_interpolation(parser, None, "as each model was trained; bilinear where that is not recorded")
    options.add_batch_size(parser)
    options.add_device(parser)


def add_network_argument(parser: argparse.ArgumentParser) -> None:
    """Declare that one network embeds all small faces."""
    parser.add_argument(
        "--network",
        type=int,
        metavar="PX",
        help="embed every face below 112 px with the network for PX; 112: the trunk alone (default: the network that "
        "the face's size selects, as in serving)",
    )


def add_pairs_argument(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Declare the pairs of sizes at which models are compared."""
    parser.add_argument(
        "--pairs",
        default="112-112,112-14,14-14",
        metavar="PX-PX,...",
        help=f"pairs of sizes in px: {meaning} (default: %(default)s)",
    )


def parse_pairs(text: str) -> list[Pair]:
    """What `add_pairs_argument` declared, each once.

    Raises:
        ValueError: as `parse_pair`.
    """
    return list(dict.fromkeys(parse_pair(word) for word in text.split(",")))


def refuse_unanswered(pairs: Iterable[Pair], models: Sequence[FaceModel]) -> None:
    """Refuse a pair for which no model has networks.

    Raises:
        ValueError: for the first one.
    """
    for pair in pairs:
        if not any(answers(model, pair) for model in models):
            raise ValueError(
                f"pair {pair[0]}-{pair[1]}: no model given has networks for both sizes; leave it out, or give phi_hr "
                "with --high-resolution"
            )


def add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where embeddings are kept, and how images are read."""
    parser.add_argument(
        "--features",
        type=Path,
        default=Path("runs/features"),
        metavar="FOLDER",
        help="keep embeddings here: a stopped run goes on, the next one reuses them (default: %(default)s)",
    )
    options.add_skip_unreadable(parser)
    options.add_workers(parser)


def load_models(args: argparse.Namespace) -> LoadedModels:
    """Load what `add_model_arguments` declared; phi_hr first, then phi_mm, phi_mr and the others.

    Raises:
        ValueError: if no model is given, or phi_mm or phi_mr without phi_hr.
        FileNotFoundError: if one is missing.
    """
    paths = [str(path) for path in args.models]
    models = [load_model(path, high_resolution=args.high_resolution) for path in paths]
    of_phi_mm = ", ".join(args.phi_mm) or None
    if of_phi_mm or args.phi_mr:
        if args.high_resolution is None:
            raise ValueError(
                "--phi-mm and --phi-mr need phi_hr, which gains start from; give it with --high-resolution"
            )
        # In the table, too; elsewhere phi_hr only lends its network to others.
        first = [
            path for path in (args.high_resolution, of_phi_mm, args.phi_mr) if path and path not in paths
        ]
        models = [
            load_matched(args.phi_mm, high_resolution=args.high_resolution)
            if path == of_phi_mm
            else load_model(path)
            for path in first
        ] + models
        paths = first + paths
    if not models:
        raise ValueError("no model to evaluate; give run folders or trunk files")
    names = [model.name for model in models]
    models = [
        replace(model, name=f"{model.name} ({path})") if names.count(model.name) > 1 else model
        for model, path in zip(models, paths, strict=True)
    ]
    roles = {args.high_resolution: "phi_hr", args.phi_mr: "phi_mr"}
    models = [
        replace(
            _seeing(model, args.interpolation),
            forced=getattr(args, "network", None),
            role=model.role or roles.get(path, ""),
        )
        for model, path in zip(models, paths, strict=True)
    ]
    baselines = None
    if of_phi_mm or args.phi_mr:
        by_path = dict(zip(paths, (model.name for model in models), strict=True))
        baselines = GainBaselines(
            by_path[args.high_resolution], by_path.get(args.phi_mr or ""), by_path.get(of_phi_mm or "")
        )
    return LoadedModels(models, paths, baselines)


@contextmanager
def on_device(args: argparse.Namespace, models: Iterable[FaceModel]) -> Iterator[None]:
    """Move the models to the device of `--device`; the command's networks run inside."""
    with distributed_context(args.device or "") as context:
        for model in models:
            model.to(context.device)
        yield


def finish(args: argparse.Namespace, document: Mapping[str, Any]) -> bool:
    """Write the result where `--output` says, before anything is shown; print it where `--json` is given.

    Returns:
        Whether tables are to be printed.
    """
    if args.output is not None:
        write_result(args.output, document)
    if args.json:
        options.print_json(document)
    return not args.json


def settle_unreadable(
    unreadable: Mapping[int, str], images: ImageFiles, args: argparse.Namespace
) -> list[dict[str, str]]:
    """List images that cannot be read, and stop unless the user said to go on.

    The whole list goes to standard error; it is returned for the result file.

    Raises:
        ValueError: if there is one and --skip-unreadable was not given.
    """
    listed = [{"image": images.names[row], "reason": reason} for row, reason in sorted(unreadable.items())]
    for entry in listed:
        show(f"btnet: unreadable: {entry['image']}: {entry['reason']}", error=True)
    if listed and not args.skip_unreadable:
        raise ValueError(
            f"{images.root}: {len(listed)} of {len(images)} images cannot be read, listed above; copy them again, "
            "or score without them with --skip-unreadable"
        )
    return listed


def percent(value: float | None) -> str:
    """As tables show a rate: "-" where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{100 * value:.2f}"


def views_of(models: Sequence[FaceModel]) -> str:
    """How the models see faces, in words: the one interpolation of all, or each with its own."""
    by_name = {model.name: model.views for model in models}
    if len(set(by_name.values())) == 1:
        return next(iter(by_name.values()))
    return ", ".join(f"{interpolation} ({name})" for name, interpolation in by_name.items())


def _seeing(model: FaceModel, interpolation: str | None) -> FaceModel:
    """The model with the interpolation that it is evaluated by."""
    if interpolation is not None and model.interpolation not in (None, interpolation):
        show(
            f"btnet: warning: {model.name} was trained on {model.interpolation} views and is evaluated "
            f"on {interpolation} ones; without --interpolation it sees its own",
            error=True,
        )
    return replace(model, interpolation=interpolation or model.views)


def show_too_few(targets: Iterable[float], nums_impostors: Iterable[int], what: str = "FAR") -> None:
    """Say why rates of the tables are "-": the numbers of impostors that they were counted over are too small."""
    for num_impostors in dict.fromkeys(nums_impostors):
        if note := too_few(targets, num_impostors, what):
            show(note)
