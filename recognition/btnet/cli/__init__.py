"""The command line: `btnet COMMAND`, one module of this package per command."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from btnet import __version__
from btnet.console import show, shown

__all__ = ["COMMANDS", "main"]

# Each module says what it does in the first line of its docstring, declares its options in
# `add_arguments(parser)` and does the work in `run(args)`, which may return an exit status other than 0.
COMMANDS: Final = {
    "train": "btnet.cli.train",
    "configs": "btnet.cli.configs",
    "doctor": "btnet.cli.doctor",
    "evaluate": "btnet.cli.evaluate",
    "ijbc": "btnet.cli.ijbc",
    "survface": "btnet.cli.survface",
    "tinyface": "btnet.cli.tinyface",
    "scface": "btnet.cli.scface",
    "export-onnx": "btnet.cli.export_onnx",
    "export-insightface": "btnet.cli.export_insightface",
    "import-onnx": "btnet.cli.import_onnx",
    "convert-trunk": "btnet.cli.convert_trunk",
    "quantise-onnx": "btnet.cli.quantise_onnx",
    "demo": "btnet.cli.demo",
    "evidence": "btnet.cli.evidence",
    "build-classifier": "btnet.cli.build_classifier",
    "convert-classifier": "btnet.cli.convert_classifier",
    "convert-authors": "btnet.cli.convert_authors",
    "arcface-setup": "btnet.cli.arcface_setup",
    "export-checkpoint": "btnet.cli.export_checkpoint",
    "head-memory": "btnet.cli.head_memory",
    "model-cost": "btnet.cli.model_cost",
    "analyse": "btnet.cli.analyse",
    "report": "btnet.cli.report",
    "make-rec": "btnet.cli.make_rec",
    "make-bin": "btnet.cli.make_bin",
    "index-shards": "btnet.cli.index_shards",
    "embed": "btnet.cli.embed",
    "compare": "btnet.cli.compare",
    "search": "btnet.cli.search",
    "native-test": "btnet.cli.native_test",
    "fit-selector": "btnet.cli.fit_selector",
    "adapt-camera": "btnet.cli.adapt_camera",
    "check-compatibility": "btnet.cli.check_compatibility",
    "demo-page": "btnet.cli.demo_page",
}

_INTERRUPTED = 130  # 128 + SIGINT, what shells expect
# What the user can put right, answered in one line. All else is ours, and shows its traceback.
_USERS_MISTAKES: Final = (
    ValueError,
    OSError,  # a file that is not there, or may not be written; a disk that is full
    FloatingPointError,  # a loss that is not finite
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command and options; those of the process if None.

    Returns:
        Exit status: 0 or what the command says, 2 for a mistake of the user, 3 where images were left out
        (`btnet.cli.left_out`), 130 when interrupted.

    Raises:
        SystemExit: from argparse, for `--help`, `--version` and options that do not exist.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    args = _parse(argv)
    warnings.formatwarning = _warning_line
    try:
        status: int | None = importlib.import_module(COMMANDS[args.command]).run(args)
    except KeyboardInterrupt:
        show("btnet: interrupted", error=True)
        return _INTERRUPTED
    except _USERS_MISTAKES as error:
        if args.debug:
            traceback.print_exc()
        show(f"btnet: error: {_one_line(error)}", error=True)
        return 2
    return status or 0


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"btnet: warning: {shown(message)}\n"


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    if "DataLoader worker" in text:  # torch puts the worker's traceback before its message
        text = text.rsplit("\n", 1)[-1].partition(": ")[2]
    return re.sub(r"\s*\n\s*", " ", text)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="btnet", description="Multi-resolution face recognition that keeps your gallery."
    )
    parser.add_argument("--version", action="version", version=f"btnet {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Only the chosen command's module is imported: the others may take seconds. Where none is chosen, the
    # summaries of all are listed.
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, module in COMMANDS.items():
        summary = _summary(module) if chosen in (None, name) else ""
        command = commands.add_parser(name, help=summary, description=summary)
        # Accepted behind the command too; without a default, which would undo `btnet --debug COMMAND`.
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        if name == chosen:
            importlib.import_module(module).add_arguments(command)
    return parser.parse_args(argv)


def _summary(module: str) -> str:
    """First line of a module's docstring, read without running the module."""
    spec = find_spec(module)
    assert spec is not None, f"{module} is listed in COMMANDS, but there is no such module"
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as source:
        docstring = ast.get_docstring(ast.parse(source.read()))
    assert docstring, f"{module} has no docstring to show as its help"
    # argparse would read a % as the start of a placeholder.
    return docstring.splitlines()[0].replace("%", "%%")
