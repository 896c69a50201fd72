"""Embedding faces of any size with trunk and branches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from btnet.serving.selection import select

if TYPE_CHECKING:
    from btnet.serving.recognizer import Recognizer

__all__ = ["Recognizer", "select"]


def __getattr__(name: str) -> Any:
    # On first use: scikit-image takes a second to import, and training does not align.
    if name == "Recognizer":
        from btnet.serving.recognizer import Recognizer

        return Recognizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
