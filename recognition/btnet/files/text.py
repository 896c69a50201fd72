"""Lists and documents in text, whose damage is told with the file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from btnet.files.named_errors import naming

__all__ = ["is_whole", "read_json", "read_lines"]

_MOST_DIGITS = 18  # of a number in 64 bits


def read_lines(path: Path) -> list[str]:
    """Lines of a text in UTF-8.

    Raises:
        ValueError: if it is another encoding.
    """
    with naming(path):
        return path.read_text(encoding="utf-8").splitlines()


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
