"""Files that are whole or absent: written under a temporary name, renamed when done."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "temporary_name"]


def temporary_name(path: Path) -> Path:
    """The name under which `path` is written: beside it, so that the rename stays in one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` at the end, or goes if the block raises.

    The file has the permissions of any new file (the umask), whoever writes it: safetensors would leave it to
    its owner alone.

    Args:
        path: the file to create or replace. Its folder must exist.

    Yields:
        The temporary path, in the same folder.

    Raises:
        OSError: naming `path`, if nothing can be written there.
    """
    temporary = temporary_name(path)
    try:
        # Asking for the umask would set it for all threads: a new file tells it too.
        temporary.touch()
    except OSError as error:
        error.filename = str(path)  # the name that the user gave
        raise
    try:
        mode = stat.S_IMODE(temporary.stat().st_mode)
        temporary.unlink()
        yield temporary
        temporary.chmod(mode)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
