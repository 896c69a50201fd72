"""Small and read-only disks, where this process may mount one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SkippedError", "filled", "small_disk"]


class SkippedError(Exception):
    """What a fault needs is not to be had on this machine."""


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of that size during the block.

    Raises:
        SkippedError: where mounting is not allowed.
    """
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    line = [mount or "mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    try:
        done = subprocess.run(line, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SkippedError("there is no mount here") from error
    if done.returncode:
        raise SkippedError(f"a tmpfs may not be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(disk: Path) -> None:
    """Let nobody write there any more, root neither."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is free there during the block."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 12)):
                pass
    except OSError:
        pass  # that is what was wanted
    try:
        yield
    finally:
        filler.unlink()
