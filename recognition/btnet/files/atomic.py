"""Files that are whole or absent: written under a temporary name, renamed when done."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "replacing_together", "temporary_name"]


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


@contextmanager
def replacing_together(folder: Path, leader: str) -> Iterator[Path]:
    """Give a draft folder; what is written there moves to `folder` at the end, or goes if the block raises.

    A block that is killed leaves the former files as they were. While files move there is no leader, so that a
    mixture of former and new ones is never taken for either; the new leader comes last.

    Args:
        folder: created if absent; other files in it stay.
        leader: name of the file without which the others are not looked at, such as a manifest.

    Yields:
        The draft, empty, in `folder`: moving is renaming.

    Raises:
        OSError: naming `folder`, if nothing can be written there.
    """
    draft = temporary_name(folder / "draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a killed process with this number
    try:
        draft.mkdir(parents=True)
    except OSError as error:
        error.filename = str(folder)
        raise
    try:
        yield draft
        written = sorted(path.relative_to(draft) for path in draft.rglob("*") if path.is_file())
        (folder / leader).unlink(missing_ok=True)
        for name in sorted(written, key=lambda name: name == Path(leader)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft / name, folder / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
