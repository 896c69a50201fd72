"""Draw a figure of the paper from a model, faces or results; the numbers go to a CSV beside it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from btnet.cli import options
from btnet.console import show
from btnet_lab.cli.model_cost import add_branch_arguments

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from btnet_lab.analysis.output import TableRow
    from btnet_lab.analysis.upsampling_error import Measure

    Drawn = tuple[Figure, Iterable[TableRow]]
    Analysis = Callable[[argparse.Namespace], Drawn]

_FACES = "a .rec file, a folder of identity folders, or synthetic:IDS:PER_ID[:SEED] (default: %(default)s)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the analyses of `btnet-lab analyse` and their options."""
    names = parser.add_subparsers(dest="analysis", metavar="NAME", required=True)
    for name, (analyse, declare) in _ANALYSES.items():
        summary = (analyse.__doc__ or "").splitlines()[0]
        analysis = names.add_parser(name, help=summary, description=summary)
        declare(analysis)
        options.add_output(
            analysis,
            "X.png",
            "picture to write, .png or .svg; its numbers go to the same name with .csv (default: %(default)s)",
            default=Path(f"runs/analysis/{name.replace('-', '_')}.png"),
        )
        # Accepted behind the name too, as for every command.
        analysis.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        analysis.set_defaults(analyse=analyse)


def run(args: argparse.Namespace) -> None:
    """Measure, draw, write."""
    from btnet.evaluation.plots import check_picture
    from btnet_lab.analysis.output import write_picture_and_table

    check_picture(args.output)
    figure, rows = args.analyse(args)
    for path in (args.output, write_picture_and_table(figure, rows, args.output)):
        show(path)


# Matplotlib and torch take seconds to import: each analysis does so itself, and --help does without.


def _upsampling_error(args: argparse.Namespace) -> Drawn:
    """Fig. 1: upper bound of the error of enlarging a face, by its resolution."""
    from btnet_lab.analysis.upsampling_error import ERROR_BOUND

    return _error_curve(args, ERROR_BOUND)


def _down_up_error(args: argparse.Namespace) -> Drawn:
    """What a face loses by shrinking and enlarging again, by the resolution in between."""
    from btnet_lab.analysis.upsampling_error import DOWN_UP

    return _error_curve(args, DOWN_UP)


def _add_error_curve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faces", default="synthetic:100:1", help=_FACES)
    parser.add_argument("--num-images", type=int, default=100, help="to average over (default: %(default)s)")
    parser.add_argument(
        "--interpolation",
        nargs="+",
        default=["bilinear"],
        metavar="NAME",
        help="bilinear, bicubic, area ...: one curve each (default: bilinear, as in the paper)",
    )
    parser.add_argument(
        "--smallest", type=int, default=4, help="smallest resolution, px (default: %(default)s)"
    )
    parser.add_argument("--step", type=int, default=1, help="px from one resolution to the next (default: 1)")


def _error_curve(args: argparse.Namespace, measure: Measure) -> Drawn:
    from btnet.evaluation.plots import new_figure
    from btnet_lab.analysis import upsampling_error as analysis
    from btnet_lab.analysis.sample_faces import sample_faces

    images = sample_faces(args.faces, args.num_images)
    size = images.shape[1]
    if not 1 <= args.smallest < size or args.step < 1:
        raise ValueError(
            f"--smallest {args.smallest} --step {args.step}: expected 1 <= smallest < {size}, and a step >= 1"
        )
    resolutions = sorted({*range(args.smallest, size, args.step), size})
    errors = {name: measure.of(images, resolutions, name) for name in args.interpolation}
    figure = new_figure(5.6, 3.8)
    analysis.draw(figure.add_subplot(), measure, errors, len(images), (7, 14, 28, 56))
    return figure, analysis.rows(measure, errors)


def _architecture(args: argparse.Namespace) -> Drawn:
    """Fig. 9: units, strides and what is learnt per resolution."""
    from btnet_lab.analysis import architecture as analysis
    from btnet_lab.analysis.cost import trunk_of

    facts = analysis.architecture(trunk_of(args.network), args.resolutions, tail_from=args.tail_from)
    return analysis.draw(facts, Path(args.network).name), analysis.rows(facts)


def _add_architecture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network", nargs="?", default="r50", help="r18, r50, mbf ..., or a trunk's .pt file (default: r50)"
    )
    add_branch_arguments(parser)


def _feature_maps(args: argparse.Namespace) -> Drawn:
    """Fig. 10: feature maps of a small face at the four stages of each model."""
    from btnet.serving.loading import load_model
    from btnet_lab.analysis import feature_maps as analysis

    models = [load_model(path, high_resolution=args.high_resolution) for path in args.models]
    size = models[0].canonical_size
    face = _face(args, size)
    seen = [analysis.see(model, face, args.resolution, args.interpolation) for model in models]
    if size in models[0].networks:
        seen.insert(0, analysis.see(models[0], face, size, args.interpolation))
    return analysis.draw(seen), analysis.rows(seen)


def _add_feature_maps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="run folders or .pt files: phi_hr, phi_mm, phi_mr, phi_bt"
    )
    parser.add_argument("--resolution", type=int, default=14, help="of the face, px (default: %(default)s)")
    parser.add_argument(
        "--high-resolution", type=Path, metavar="MODEL", help="phi_hr, for what a phi_mm is compared with"
    )
    _add_face(parser)


def _pyramids(args: argparse.Namespace) -> Drawn:
    """Fig. 3: faces beside feature maps of the same resolution."""
    from btnet.serving.loading import load_model
    from btnet_lab.analysis import pyramids as analysis

    model = load_model(args.model)
    levels = analysis.pyramids(model.module, _face(args, model.canonical_size), args.interpolation)
    return analysis.draw(levels), analysis.rows(levels)


def _add_pyramids(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="run folder (trunk and branches), or a trunk's .pt file"
    )
    _add_face(parser)


def _allocation(args: argparse.Namespace) -> Drawn:
    """Fig. 7: accuracy and stored parameters against where the shared tail starts."""
    from btnet_lab.analysis import allocation as analysis

    found = analysis.read_allocations(args.runs, args.results)
    return analysis.draw(found), analysis.rows(found)


def _add_allocation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs that differ in tail_from")
    parser.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="X.json",
        help="what btnet evaluate wrote for them (default: each run's own results/*.json)",
    )  # fmt: skip


def _selection_map(args: argparse.Namespace) -> Drawn:
    """Fig. 8: which branch each face size goes to, for the nine strategies."""
    from btnet_lab.analysis import selection_map as analysis

    maps = analysis.selection_map(args.resolutions, args.max_size)
    return analysis.draw(maps, args.resolutions), analysis.rows(maps)


def _add_selection_map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resolutions",
        type=int,
        nargs="+",
        default=[112, 28, 14, 7],
        metavar="PX",
        help="of trunk and branches",
    )
    parser.add_argument(
        "--max-size", type=int, default=128, help="largest width and height, px (default: %(default)s)"
    )


def _add_face(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faces", default="synthetic:64:1", help=_FACES)
    parser.add_argument("--index", type=int, default=0, help="of the face in the set (default: %(default)s)")
    options.add_interpolation(parser, "bilinear")


def _face(args: argparse.Namespace, size: int) -> NDArray[np.uint8]:
    from btnet_lab.analysis.sample_faces import read_face

    return read_face(args.faces, args.index, size)


_ANALYSES: dict[str, tuple[Analysis, Callable[[argparse.ArgumentParser], None]]] = {
    "upsampling-error": (_upsampling_error, _add_error_curve),
    "down-up-error": (_down_up_error, _add_error_curve),
    "architecture": (_architecture, _add_architecture),
    "feature-maps": (_feature_maps, _add_feature_maps),
    "pyramids": (_pyramids, _add_pyramids),
    "allocation": (_allocation, _add_allocation),
    "selection-map": (_selection_map, _add_selection_map),
}
