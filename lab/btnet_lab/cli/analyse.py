"""Draw a figure of the paper from a model, faces or results; the numbers go to a CSV beside it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from btnet.cli import options
from btnet.console import show
from btnet_lab.cli.model_cost import add_branch_arguments

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from btnet_lab.analysis.output import Cell

    Drawn = tuple[Figure, Sequence[str], Iterable[Sequence[Cell]]]
    Analysis = Callable[[argparse.Namespace], Drawn]

_FACES = "a .rec file, a folder of identity folders, or synthetic:IDS:PER_ID[:SEED] (default: %(default)s)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the analyses of `btnet-lab analyse` and their options."""
    names = parser.add_subparsers(dest="analysis", metavar="NAME", required=True)
    for name, declare in _ANALYSES.items():
        summary = (declare.__doc__ or "").splitlines()[0]
        analysis = names.add_parser(name, help=summary, description=summary)
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
        analysis.set_defaults(analyse=declare(analysis))


def run(args: argparse.Namespace) -> None:
    """Measure, draw, write.

    Raises:
        ValueError, FileNotFoundError: for models, faces or results that are missing or do not fit.
    """
    from btnet.evaluation.plots import check_picture
    from btnet_lab.analysis.output import write_picture_and_table

    check_picture(args.output)
    figure, header, rows = args.analyse(args)
    for path in (args.output, write_picture_and_table(figure, header, rows, args.output)):
        show(path)


# Each of the following declares the options of one analysis and returns what does it. Matplotlib and torch take
# seconds to import, so --help does without.


def _upsampling_error(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 1: upper bound of the error of enlarging a face, against its resolution."""
    return _error_curve(parser, is_bound=True)


def _down_up_error(parser: argparse.ArgumentParser) -> Analysis:
    """What shrinking takes from a face that is enlarged again, against the resolution in between."""
    return _error_curve(parser, is_bound=False)


def _error_curve(parser: argparse.ArgumentParser, *, is_bound: bool) -> Analysis:
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
        "--smallest", type=int, default=4, help="resolution to begin with, px (default: %(default)s)"
    )
    parser.add_argument("--step", type=int, default=1, help="px from one resolution to the next (default: 1)")

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet_lab.analysis import upsampling_error as analysis
        from btnet_lab.analysis.sample_faces import sample_faces

        images = sample_faces(args.faces, args.num_images)
        size = images.shape[1]
        if not 1 <= args.smallest < size or args.step < 1:
            raise ValueError(
                f"--smallest {args.smallest} --step {args.step}: expected 1 <= smallest < {size}, and a step >= 1"
            )
        resolutions = sorted({*range(args.smallest, size, args.step), size})
        measure = analysis.ERROR_BOUND if is_bound else analysis.DOWN_UP
        errors = {name: measure.of(images, resolutions, name) for name in args.interpolation}
        figure = analysis.draw(measure, errors, len(images), (7, 14, 28, 56))
        return figure, measure.header, analysis.rows(errors)

    return analyse


def _architecture(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 9: units, strides and what is learnt per resolution."""
    parser.add_argument(
        "network", nargs="?", default="r50", help="r18, r50, mbf ..., or a trunk's .pt file (default: r50)"
    )
    add_branch_arguments(parser)

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet_lab.analysis import architecture as analysis
        from btnet_lab.analysis.cost import trunk_of

        facts = analysis.architecture(trunk_of(args.network), args.resolutions, tail_from=args.tail_from)
        return analysis.draw(facts, Path(args.network).name), analysis.HEADER, analysis.rows(facts)

    return analyse


def _feature_maps(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 10: what the four stages of each model see of a small face."""
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="run folders or .pt files: phi_hr, phi_mm, phi_mr, phi_bt"
    )
    parser.add_argument("--resolution", type=int, default=14, help="of the face, px (default: %(default)s)")
    parser.add_argument(
        "--high-resolution", type=Path, metavar="MODEL", help="phi_hr, for what a phi_mm is compared with"
    )
    _add_face(parser)

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet.serving.loading import load_model
        from btnet_lab.analysis import feature_maps as analysis

        models = [load_model(path, high_resolution=args.high_resolution) for path in args.models]
        size = models[0].canonical_size
        face = _face(args, size)
        seen = [analysis.see(model, face, args.resolution, args.interpolation) for model in models]
        if size in models[0].networks:
            seen.insert(0, analysis.see(models[0], face, size, args.interpolation))
        return analysis.draw(seen), analysis.HEADER, analysis.rows(seen)

    return analyse


def _pyramids(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 3: face and feature map of equal resolution side by side."""
    parser.add_argument(
        "model", metavar="MODEL", help="run folder (trunk and branches), or a trunk's .pt file"
    )
    _add_face(parser)

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet.serving.loading import load_model
        from btnet_lab.analysis import pyramids as analysis

        model = load_model(args.model)
        levels = analysis.pyramids(model.module, _face(args, model.canonical_size), args.interpolation)
        return analysis.draw([level.picture() for level in levels]), analysis.HEADER, analysis.rows(levels)

    return analyse


def _allocation(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 7: accuracy and stored parameters against where the shared tail starts."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs that differ in tail_from")
    parser.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="X.json",
        help="what btnet evaluate wrote for them (default: each run's own results/*.json)",
    )  # fmt: skip

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet_lab.analysis import allocation as analysis

        found = analysis.read_allocations(args.runs, args.results)
        return analysis.draw(found), analysis.HEADER, analysis.rows(found)

    return analyse


def _selection_map(parser: argparse.ArgumentParser) -> Analysis:
    """Fig. 8: which branch each face size goes to, for the nine strategies."""
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

    def analyse(args: argparse.Namespace) -> Drawn:
        from btnet_lab.analysis import selection_map as analysis

        maps = analysis.selection_map(args.resolutions, args.max_size)
        return analysis.draw(maps, args.resolutions), analysis.HEADER, analysis.rows(maps)

    return analyse


def _add_face(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--faces", default="synthetic:64:1", help=_FACES)
    parser.add_argument("--index", type=int, default=0, help="of the face in the set (default: %(default)s)")
    options.add_interpolation(parser, "bilinear")


def _face(args: argparse.Namespace, size: int) -> NDArray[np.uint8]:
    from btnet_lab.analysis.sample_faces import read_face

    return read_face(args.faces, args.index, size)


_ANALYSES = {
    "upsampling-error": _upsampling_error,
    "down-up-error": _down_up_error,
    "architecture": _architecture,
    "feature-maps": _feature_maps,
    "pyramids": _pyramids,
    "allocation": _allocation,
    "selection-map": _selection_map,
}
