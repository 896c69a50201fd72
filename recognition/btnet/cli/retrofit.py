"""Make a model for small faces of your trunk and faces: branches, judged and packed, the trunk untouched."""

from __future__ import annotations

import argparse
from typing import Final

from btnet.cli import options
from btnet.console import show

_WORSE: Final = 1
_SHOWN: Final = (20, 14, 7)  # px, in the last lines


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet retrofit`."""
    parser.add_argument(
        "trunk",
        metavar="TRUNK",
        help="model.pt, backbone.pth, X.onnx, a folder with one of them, or an insightface pack (buffalo_l)",
    )
    parser.add_argument(
        "faces",
        metavar="FACES",
        help="X.rec, identity folders, or a folder of faces of anybody; aligned to 112 px, or photographs and crops",
    )
    options.add_output(parser, "OUT", "folder of the package")
    parser.add_argument(
        "--minutes", type=float, metavar="N", help="for everything (default: what the faces need)"
    )
    parser.add_argument(
        "--labels", action="store_true", help="learn from identities too (measured: no better than without)"
    )
    parser.add_argument(
        "--unlabelled", action="store_true", help="folders, or labels of a .rec, are not people"
    )
    parser.add_argument("--detector", metavar="SOURCE", help="for photographs; see `btnet align`")
    options.add_device(parser)
    parser.add_argument("--trunk-licence", metavar="TEXT", default="", help="recorded in the card")
    parser.add_argument("--faces-licence", metavar="TEXT", default="", help="recorded in the card")
    parser.add_argument(
        "--force", action="store_true", help="publish branches that are worse than the trunk alone"
    )
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Retrofit, and say what was reached. Exit status 1 if a branch is worse than the trunk alone.

    Raises:
        ValueError, OSError: as `btnet.retrofit.retrofit.retrofit`.
    """
    from btnet.retrofit.retrofit import Request, WorseError, retrofit

    if args.minutes is not None and not args.minutes > 0:
        raise ValueError(f"--minutes {args.minutes:g}: expected more than 0")
    asked = {key: value for key, value in vars(args).items() if key in Request.__dataclass_fields__}
    try:
        judged = retrofit(Request(**asked))
    except WorseError as error:
        show(f"btnet: {error}", error=True)
        return _WORSE
    points = {point.size: point for point in judged.curve}
    told = [
        f"{size} px: {100 * points[size].accuracy:.1f} % (trunk alone {100 * points[size].trunk_accuracy:.1f} %)"
        for size in _SHOWN
    ]
    unsure = [f"{r} px {verdict}" for r, verdict in judged.branches.items() if verdict != "better"]
    show("; ".join([*told, *unsure]))
    show(f"{args.output}: trunk, branches, ONNX files and README.md")
    show(f"next: btnet compare FACE1 FACE2 --model {args.output}")
    return 0
