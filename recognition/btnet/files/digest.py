"""Size and digest of a file, by which a list knows it again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

__all__ = ["entry_of", "is_entry", "sha256"]


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def entry_of(path: Path) -> dict[str, Any]:
    """What a list of files says of one: {"bytes": size, "sha256": digest}."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def is_entry(path: Path, entry: dict[str, Any]) -> bool:
    """Whether a file is the one that a list speaks of; of another size, it is not read."""
    return bool(path.stat().st_size == entry["bytes"] and sha256(path) == entry["sha256"])
