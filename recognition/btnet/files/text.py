"""Reading lists and documents: errors that name the file and line, and one form for equal names."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Line", "encoding_of", "is_utf8", "is_whole", "naming", "plain_name", "read_json", "read_lines"]

_LONGEST_REASON = 300
_MOST_DIGITS = 18  # of a number in 64 bits
_LONGEST_SHOWN = 80
_SAMPLE_BYTES = 4096  # that tell an encoding
# In this order: UTF-32's mark starts like UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@contextmanager
def naming(path: str | Path, *others: type[Exception]) -> Iterator[None]:
    """Turn a ValueError of the block, or one of `others`, into a ValueError that names the file `path`."""
    kinds: tuple[type[Exception], ...] = (ValueError, *others)
    try:
        yield
    except kinds as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise ValueError(
            f"{path}: {reason}; the file is damaged or of another kind: copy it again"
        ) from error


class Line(NamedTuple):
    """One line of a list: `FILE:LINE` for errors, and its text without line break and surrounding blanks."""

    where: str
    text: str

    def error(self, expected: str) -> ValueError:
        """The error to raise for a line of another form."""
        return ValueError(f"{self.where}: {self.text[:_LONGEST_SHOWN]!r}, expected {expected}")


def read_lines(path: Path, *, exactly: bool = False) -> Iterator[Line]:
    r"""The lines of a list that are not blank, numbered as an editor numbers them; `exactly`: all, with their blanks.

    Lines end in LF, CR LF or CR. Bytes that are not UTF-8, as in old names of files, are kept as `os.fsdecode` keeps
    them: such a name still opens its file, and `is_utf8` tells.

    Raises:
        ValueError: naming file and line, for a zero byte; or naming the file, if it cannot be decoded at all.
    """
    with naming(path), path.open(encoding=encoding_of(path), errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            text = line.removesuffix("\n") if exactly else line.strip(" \t\n")
            if "\0" in text:
                raise ValueError(f"{path}:{number}: a zero byte; expected a text, copy the file again")
            if text or exactly:
                yield Line(f"{path}:{number}", text)


def encoding_of(path: Path) -> str:
    """The encoding of a text, by its byte order mark; without one UTF-16 by its zero bytes, else UTF-8."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    even, odd = start[::2].count(0), start[1::2].count(0)
    if min(even, odd) == 0 and 4 * max(even, odd) > len(start):
        return "utf-16-le" if odd else "utf-16-be"
    return "utf-8"


def is_utf8(text: str) -> bool:
    """Whether a text holds no byte that could not be decoded."""
    return not any("\udc80" <= letter <= "\udcff" for letter in text)


def plain_name(name: str) -> str:
    """A name in the one form in which equal names are equal: composed (NFC); bytes outside UTF-8 read as Latin-1."""
    return unicodedata.normalize("NFC", name if is_utf8(name) else os.fsencode(name).decode("latin-1"))


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON document holds.

    Raises:
        ValueError: if it is no JSON, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        # Halves of characters could not be written again, but for those that stand for a file name's bytes.
        json.dumps(document, ensure_ascii=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not valid JSON ({str(error)[:200]}); the file is damaged, write or copy it again"
        ) from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: holds a {type(document).__name__}, expected a JSON object")
    return document


def is_whole(field: str) -> bool:
    """Whether a field is a whole number in plain digits that 64 bits hold."""
    return field.isascii() and field.isdigit() and len(field) <= _MOST_DIGITS
