"""What our programs do alike: dispatch, grouped help, exit status, and errors in one line."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from btnet import __version__
from btnet.cli.former import translate
from btnet.console import show, shown
from btnet.optional import MissingExtraError

__all__ = ["run_program"]

Groups = Mapping[str, Mapping[str, str]]  # title -> command -> module

_INTERRUPTED = 130  # 128 + SIGINT, what shells expect
# What the user can put right, answered in one line. All else is ours, and shows its traceback.
_USERS_MISTAKES: Final = (
    ValueError,
    OSError,  # a file that is not there, or may not be written; a disk that is full
    FloatingPointError,  # a loss that is not finite
    MissingExtraError,
)


def run_program(prog: str, description: str, groups: Groups, argv: Sequence[str]) -> int:
    """Run one command of a program.

    Each command's module says what it does in the first line of its docstring, declares its options in
    `add_arguments(parser)` and does the work in `run(args)`, which may return an exit status other than 0.

    Args:
        prog: name of the program.
        description: one sentence for `--help`.
        groups: commands by the title they stand under in `--help`; those under "" are not listed.
        argv: command and options.

    Returns:
        Exit status: 0 or what the command says, 2 for a mistake of the user, 3 where images were left out
        (`btnet.cli.left_out`), 130 when interrupted.

    Raises:
        SystemExit: from argparse, for `--help`, `--version` and options that do not exist.
    """
    modules = {name: module for group in groups.values() for name, module in group.items()}
    with _warnings_as_lines():
        try:
            args = _parse(prog, description, groups, list(argv))
            status: int | None = importlib.import_module(modules[args.command]).run(args)
        except KeyboardInterrupt:
            show("btnet: interrupted", error=True)
            return _INTERRUPTED
        except _USERS_MISTAKES as error:
            if "--debug" in argv:
                traceback.print_exc()
            show(f"btnet: error: {_one_line(error)}", error=True)
            return 2
    return status or 0


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """For one command; with it end the filters that it, or a library that it uses, has set."""
    before = warnings.formatwarning
    with warnings.catch_warnings():
        warnings.formatwarning = _warning_line
        try:
            yield
        finally:
            warnings.formatwarning = before


def _warning_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"btnet: warning: {shown(message)}\n"


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    if "DataLoader worker" in text:  # torch puts the worker's traceback before its message
        text = text.rsplit("\n", 1)[-1].partition(": ")[2]
    return re.sub(r"\s*\n\s*", " ", text)


def _parse(prog: str, description: str, groups: Groups, argv: list[str]) -> argparse.Namespace:
    # Only the chosen command's module is imported: the others may take seconds. Where none is chosen, the
    # summaries of all are listed.
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} COMMAND ...   ({prog} COMMAND --help: what it takes)",
        description=description,
        epilog="" if chosen else _listed(groups),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{prog} {__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(
        dest="command", prog=prog, metavar="COMMAND", required=True, help=argparse.SUPPRESS
    )
    for name, module in ((name, module) for group in groups.values() for name, module in group.items()):
        command = commands.add_parser(name, description=_summary(module) if name == chosen else "")
        # Accepted behind the command too; without a default, which would undo `btnet --debug COMMAND`.
        command.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        if name == chosen:
            importlib.import_module(module).add_arguments(command)
            argv = translate(name, argv, command)
    return parser.parse_args(argv)


def _listed(groups: Groups) -> str:
    """Titles, and below each its commands with what they do."""
    width = max(len(name) for group in groups.values() for name in group) + 4
    blocks = [
        f"{title}:\n" + "\n".join(f"  {name:{width}}{_summary(group[name])}" for name in group)
        for title, group in groups.items()
        if title
    ]
    return "\n\n".join(blocks).replace("%%", "%")


def _summary(module: str) -> str:
    """First line of a module's docstring, read without running the module."""
    spec = find_spec(module)
    assert spec is not None, f"{module} is listed as a command, but there is no such module"
    assert spec.origin is not None
    with open(spec.origin, encoding="utf-8") as source:
        docstring = ast.get_docstring(ast.parse(source.read()))
    assert docstring, f"{module} has no docstring to show as its help"
    # argparse would read a % as the start of a placeholder.
    return docstring.splitlines()[0].replace("%", "%%")
