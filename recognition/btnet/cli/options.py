"""The options that several commands have, each declared once: one name for one thing, one default, one text."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from btnet.console import show
from btnet.images.interpolation import INTERPOLATIONS
from btnet.serving.selection import INDICATORS, RULES

if TYPE_CHECKING:
    from btnet.serving.optical import OpticalSelector
    from btnet.serving.recognizer import Recognizer
    from btnet.serving.selection import Strategy

MODEL_VARIABLE: Final = "BTNET_MODEL"
BACKENDS: Final = ("torch", "onnxruntime")
PRECISIONS: Final = ("fp32", "fp16")

Parser = argparse.ArgumentParser | argparse._ArgumentGroup

MODEL_HELP: Final = "run folder (trunk and branches), or a trunk's .pt file"


def add_output(
    parser: Parser, metavar: str, what: str = "file to write", *, required: bool = True, default: Any = None
) -> None:
    """Declare `-o`, what is written."""
    required = required and default is None
    parser.add_argument(
        "--output", "-o", type=Path, required=required, default=default, metavar=metavar, help=what
    )


def add_overwrite(parser: Parser) -> None:
    """Declare `--overwrite`; what writes a model or a gallery asks `btnet.files.atomic.refuse_existing` first."""
    parser.add_argument("--overwrite", action="store_true", help="replace what is there (default: refuse)")


def add_json(parser: Parser) -> None:
    """Declare `--json`; the command then prints with `print_json` and nothing else on standard output."""
    parser.add_argument("--json", action="store_true", help="print the answer as JSON, for programs")


def print_json(answer: Any) -> None:
    """Print an answer of plain dicts, lists, numbers and strings, in ASCII."""
    for line in json.dumps(answer, indent=2).splitlines():
        show(line)


def add_device(parser: Parser) -> None:
    """Declare where networks run."""
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")


def add_batch_size(parser: Parser, default: int = 32) -> None:
    """Declare how many faces a network takes at once."""
    parser.add_argument(
        "--batch-size", type=int, default=default, metavar="N", help="faces per pass (default: %(default)s)"
    )


def add_workers(parser: Parser, default: int = min(8, os.cpu_count() or 1)) -> None:
    """Declare how many threads or processes read images."""
    parser.add_argument(
        "--workers",
        type=int,
        default=default,
        metavar="N",
        help="read images N at a time (default: %(default)s)",
    )


def add_interpolation(parser: Parser, default: str | None, known: str = "%(default)s") -> None:
    """Declare how faces are resized.

    Args:
        parser: of the command.
        default: one of `INTERPOLATIONS`; None where it depends.
        known: the default in words.
    """
    parser.add_argument(
        "--interpolation", choices=INTERPOLATIONS, default=default, help=f"resize faces so (default: {known})"
    )


def add_aligned_size(parser: Parser) -> None:
    """Declare the size to which squares are brought when a data set is packed."""
    parser.add_argument(
        "--size",
        type=int,
        metavar="PX",
        help="resize squares of other sizes (default: refuse all but 112 x 112)",
    )
    add_interpolation(parser, "area")


def add_faces(parser: Parser, use: str, num_faces: int | None = None, *, required: bool = False) -> None:
    """Declare `--faces`, and how many of them are used.

    Args:
        parser: of the command.
        use: what they are for.
        num_faces: default of `--num-faces`; None: the command uses all.
        required: whether it does without.
    """
    parser.add_argument("--faces", metavar="SET", required=required, help=f"{use}: {FACES_HELP}")
    if num_faces is not None:
        parser.add_argument(
            "--num-faces",
            type=int,
            default=num_faces,
            metavar="N",
            help="use N of them (default: %(default)s)",
        )


FACES_HELP: Final = "X.rec, X.bin, a folder of identity folders, or synthetic:IDS:PER_ID"


def add_resolutions(parser: Parser) -> None:
    """Declare which networks of a model are exported."""
    parser.add_argument(
        "--resolutions",
        type=int,
        nargs="+",
        metavar="PX",
        help="write these networks (default: the trunk and every branch)",
    )


def add_precision(parser: Parser) -> None:
    """Declare the arithmetic of an ONNX file."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="store and compute so (default: %(default)s)"
    )


def add_input_size(parser: Parser, meaning: str) -> None:
    """Declare the faces that an ONNX file takes."""
    parser.add_argument("--input-size", type=_input_size, metavar="native|PX", help=meaning)


def _input_size(text: str) -> int | None:
    return None if text == "native" else int(text)


def add_skip_unreadable(parser: Parser) -> None:
    """Declare that a command goes on without the images that it cannot read."""
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="go on without images that cannot be read (default: list them and stop)",
    )


def add_mirror(parser: Parser) -> None:
    """Declare whether the mirror image counts: off, as a recogniser serves."""
    parser.add_argument(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="add the mirror image's embedding: twice the time (default: %(default)s)",
    )


def add_strategy(parser: Parser, default: str = "max+ceil", more: str = "") -> None:
    """Declare how a face's size selects its network.

    Args:
        parser: of the command.
        default: "max+ceil", or what a benchmark compares.
        more: what it takes besides one strategy.
    """
    parser.add_argument(
        "--strategy",
        default=default,
        metavar="INDICATOR+RULE",
        help=f"select a face's network by its {', '.join(INDICATORS)} side and {', '.join(RULES)}{more} "
        "(default: %(default)s)",
    )


def strategy_of(args: argparse.Namespace) -> Strategy:
    """What `add_strategy` declared, where only one makes sense.

    Raises:
        ValueError: for an unknown strategy, or several.
    """
    from btnet.serving.selection import parse_strategies

    strategies = parse_strategies(args.strategy)
    if len(strategies) > 1:
        raise ValueError(f"--strategy {args.strategy}: names {len(strategies)}; give one, such as max+ceil")
    return strategies[0]


def add_selector(parser: Parser) -> None:
    """Declare the learnt selector."""
    parser.add_argument(
        "--selector",
        type=Path,
        metavar="X.json",
        help="of `btnet-lab fit-selector`: select by the detail a face holds instead of its size",
    )


def selector_of(args: argparse.Namespace) -> OpticalSelector | None:
    """What `add_selector` declared, read.

    Raises:
        ValueError, FileNotFoundError: as `OpticalSelector.load`.
    """
    from btnet.serving.optical import OpticalSelector

    return None if args.selector is None else OpticalSelector.load(args.selector)


def add_recognizer(parser: argparse.ArgumentParser) -> None:
    """Declare which model embeds, and how."""
    parser.add_argument(
        "--model",
        type=Path,
        default=os.environ.get(MODEL_VARIABLE),
        help=f"{MODEL_HELP}, or a folder of ONNX files (default: environment variable {MODEL_VARIABLE})",
    )
    parser.add_argument("--backend", choices=BACKENDS, default="torch", help="(default: %(default)s)")
    add_device(parser)
    add_strategy(parser)
    add_selector(parser)
    parser.add_argument(
        "--fusion",
        action="store_true",
        help="average the two networks that a face's size lies between: up to twice the time",
    )
    add_batch_size(parser)
    add_mirror(parser)


def load_recognizer(args: argparse.Namespace) -> Recognizer:
    """The recogniser that `add_recognizer` declared.

    Raises:
        ValueError: if no model is named, or as `Recognizer.load`.
        FileNotFoundError: likewise.
    """
    from btnet.serving.recognizer import Recognizer

    if args.model is None:
        raise ValueError(f"no model: give --model, or set the environment variable {MODEL_VARIABLE}")
    strategy = strategy_of(args)
    return Recognizer.load(
        args.model,
        args.backend,
        device=args.device,
        indicator=strategy.indicator,
        rule=strategy.rule,
        selector=args.selector,
        fusion=args.fusion,
        batch_size=args.batch_size,
        mirror=args.mirror,
    )
