"""Writing files: whole or not at all, not over others unasked, and one run per folder."""

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["only_run", "put_in_place", "refuse_existing", "replacing", "replacing_together", "temporary_name"]


def temporary_name(path: Path) -> Path:
    """The name under which `path` is written: beside it, so that the rename stays in one file system."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it becomes `path` at the end, or goes if the block raises.

    The file has the permissions of any new file (the umask), whoever writes it: safetensors would leave it to
    its owner alone.

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
    """Yield an empty draft folder; its files move to `folder` at the end, or go if the block raises.

    A block that is killed leaves the former files as they were. While files move there is no leader, so that a
    mixture of former and new ones is never taken for either; the new leader comes last.

    Args:
        folder: created if absent; other files in it stay.
        leader: name of the file without which the others are not looked at, such as a manifest.

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


def put_in_place(draft: Path, output: Path) -> None:
    """Rename a finished folder; what was there before goes once the new one is in its place."""
    former = output.with_name(f".{output.name}.old")
    shutil.rmtree(former, ignore_errors=True)
    if output.exists():
        output.rename(former)
    draft.rename(output)
    shutil.rmtree(former, ignore_errors=True)


def refuse_existing(*paths: Path, overwrite: bool, option: str = "--overwrite") -> None:
    """Raise FileExistsError if an output exists and may not be replaced; called before the work starts."""
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists; replace it with {option}, or choose another output")


@contextmanager
def only_run(folder: Path) -> Iterator[bool]:
    """Lock a folder; yields whether nobody else holds it. The system unlocks what a killed process held."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
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
