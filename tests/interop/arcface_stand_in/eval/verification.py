"""Stand-in: the name of arcface_torch's reader of `.bin` sets; tests put their own in its place."""

from __future__ import annotations

from typing import Any


def load_bin(path: str, image_size: tuple[int, int]) -> Any:
    raise NotImplementedError
