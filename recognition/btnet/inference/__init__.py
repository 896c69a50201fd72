"""Embedding faces of any size with trunk and branches."""

from btnet.inference.selection import select

__all__ = ["select"]
