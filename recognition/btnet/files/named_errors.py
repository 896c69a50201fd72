"""What goes wrong while a file is read is told with its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["naming"]

_LONGEST = 300


@contextmanager
def naming(path: str | Path, *others: type[Exception]) -> Iterator[None]:
    """Turn errors of the block into one that names the file; those that do pass through.

    Args:
        path: the file or folder that is read.
        others: errors beside ValueError that contents can lead to.

    Raises:
        ValueError: for any of them.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, *others)
    try:
        yield
    except kinds as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise ValueError(
            f"{path}: {reason}; the file is damaged or of another kind: copy it again"
        ) from error
