"""State dicts: their fingerprint, and whether one fits a network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

__all__ = ["check_tensors", "copy_tensors", "fingerprint"]


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """sha256 over sorted keys, shapes and float32 bytes of a state dict, without `num_batches_tracked`."""
    digest = hashlib.sha256()
    for key in sorted(state):
        if key.endswith("num_batches_tracked"):
            continue
        tensor = state[key].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{key}{list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors whose names or shapes are not the expected ones.

    Raises:
        ValueError: naming the missing, unexpected or differently shaped keys.
    """
    problems = [
        *(f"missing {key}" for key in expected if key not in found),
        *(f"unexpected {key}" for key in found if key not in expected),
        *(
            f"{key} has shape {list(found[key].shape)} instead of {list(expected[key].shape)}"
            for key in expected
            if key in found and found[key].shape != expected[key].shape
        ),
    ]
    if problems:
        raise ValueError(f"{where} does not fit: {_shorten(problems)}; use the file made for this network")


def copy_tensors(found: Mapping[str, Tensor], into: Mapping[str, Tensor], where: str) -> None:
    """Fill tensors in place with those of the same names.

    Raises:
        ValueError: as `check_tensors`; nothing has been written then.
    """
    check_tensors(found, into, where)
    with torch.no_grad():
        for key, tensor in into.items():
            tensor.copy_(found[key])


def _shorten(problems: Iterable[str]) -> str:
    first, rest = (listed := list(problems))[:6], listed[6:]
    return ", ".join(first) + (f" and {len(rest)} more" if rest else "")
