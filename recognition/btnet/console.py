"""What people read on a terminal: lines, tables, progress bars. Whatever a name or path holds, it is shown as text."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Final, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["LogLines", "console", "progress_bar", "show", "show_table", "shown", "tracked"]

# Redirected into a file, nothing should be folded to the 80 columns of an imagined terminal.
_WIDTH_OF_A_FILE: Final = 200
_LEAST_OF_TEXT: Final = 16  # columns of the terminal that a column of names keeps
_IN_ASCII: Final = {"±": "+-", "·": "-"}
_Item = TypeVar("_Item")


@cache
def console(*, error: bool = False, width: int | None = None) -> Console:
    """The terminal (or file) behind standard output or standard error; it reads no markup and no emoji codes.

    Args:
        error: standard error.
        width: in characters; None: the terminal's.
    """
    return Console(stderr=error, width=width, markup=False, emoji=False, highlight=False)


def shown(text: object, encoding: str = "utf-8") -> str:
    r"""One line in which control characters, and what the encoding lacks, stand as escapes such as \x1b.

    Args:
        text: a name, a path, a sentence; file names that are not UTF-8 included.
        encoding: of the terminal or file.
    """
    line = "".join(
        char if _is_visible(char) else char.encode("unicode_escape").decode() for char in str(text)
    )
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        for char, plain in _IN_ASCII.items():
            line = line.replace(char, plain)
        line = line.encode(encoding, "backslashreplace").decode(encoding)
    return line


def show(text: object = "", *, bold: bool = False, error: bool = False) -> None:
    """Print a line, never wrapped.

    Args:
        text: see `shown`.
        bold: for headings.
        error: to standard error.
    """
    out = console(error=error)
    out.print(Text(shown(text, out.encoding), style="bold" if bold else ""), soft_wrap=True)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str] | None],
    *,
    text: Collection[int] = (0,),
) -> None:
    """Print a title and a table; names are folded where they are long, numbers never.

    Args:
        title: above it; "" for none.
        columns: headings.
        rows: cells of each line; None for a rule between lines.
        text: positions of the columns that hold names, at the left; the others hold numbers, at the right.
    """
    encoding = console().encoding
    heads = [shown(head, encoding) for head in columns]
    lines = [None if row is None else [shown(cell, encoding) for cell in row] for row in rows]
    longest = [max(map(cell_len, column)) for column in zip(heads, *filter(None, lines), strict=True)]
    least = [min(n, _LEAST_OF_TEXT) if i in text else n for i, n in enumerate(longest)]
    table = Table()
    for i, head in enumerate(heads):
        if i in text:
            table.add_column(Text(head), overflow="fold")
        else:
            table.add_column(Text(head), justify="right", no_wrap=True)
    for line in lines:
        if line is None:
            table.add_section()
        else:
            table.add_row(*map(Text, line))
    if title:
        show(title)
    here = console().width if sys.stdout.isatty() else _WIDTH_OF_A_FILE
    console(width=max(here, sum(least) + 3 * len(least) + 1)).print(table)


@contextmanager
def progress_bar(doing: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A progress bar where a person looks on; gives the function to be called with the number of items done.

    Args:
        doing: stands before the bar.
        total: number of items.
        quiet: show none.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    disable = quiet or not sys.stderr.isatty()
    with Progress(*columns, console=console(error=True), transient=True, disable=disable) as progress:
        task = progress.add_task(shown(doing, console(error=True).encoding), total=total)
        yield lambda done: progress.advance(task, done)


def tracked(items: Iterable[_Item], doing: str, total: int, *, quiet: bool = False) -> Iterator[_Item]:
    """The items, with a progress bar; see `progress_bar`."""
    with progress_bar(doing, total, quiet=quiet) as done:
        for item in items:
            yield item
            done(1)


class LogLines(logging.Handler):
    """Log records as lines; above a progress bar, where one is shown on the same stream."""

    def __init__(self, *, error: bool = False) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        try:
            show(self.format(record), error=self._error)
        except Exception:
            self.handleError(record)


def _is_visible(char: str) -> bool:
    # Letters that join others (Cf) are part of names; controls, and what ends a line, are not.
    return char.isprintable() or not (char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029")
