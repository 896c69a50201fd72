"""What was made before is not replaced unasked: the one rule of every command that writes a model or a gallery."""

from __future__ import annotations

from pathlib import Path

__all__ = ["refuse_existing"]


def refuse_existing(*paths: Path, overwrite: bool, option: str = "--overwrite") -> None:
    """Refuse to write over what is there; to be asked before the work starts.

    Args:
        paths: of what will be written.
        overwrite: whether the user said that it may be replaced.
        option: by which one says so.

    Raises:
        FileExistsError: naming the first that is there.
    """
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path}: exists; replace it with {option}, or choose another output")
