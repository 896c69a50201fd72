"""A folder that one run at a time may write to."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["only_run"]

_NAME = ".lock"


@contextmanager
def only_run(folder: Path) -> Iterator[bool]:
    """Hold the folder; gives whether nobody else does. The system takes the lock from a process that is killed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _NAME
    with open(path, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks must do without
            pass
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
