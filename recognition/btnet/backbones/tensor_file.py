"""Safetensors files of ours: tensors, and one JSON object that says what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ["OVERLAY", "is_safetensors", "read_tensors"]

OVERLAY = "btnet"
"""The section of a branch's overlay."""


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON object, and the object."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def read_tensors(path: Path, section: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read tensors and the JSON object of one section of the metadata.

    Args:
        path: a file that is there.
        section: key in the file's metadata.

    Returns:
        The object, empty where the file has none; and the tensors on the CPU.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(section, "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a whole safetensors file ({str(error)[:200]}); copy or export it again"
        ) from error
    return metadata if isinstance(metadata, dict) else {}, tensors
