"""One line of `btnet doctor`: what was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One fact.

    Attributes:
        what: what was looked at.
        found: what it is.
        remedy: what to do; empty if nothing is wrong.
    """

    what: str
    found: str
    remedy: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether something must be done."""
        return bool(self.remedy)

    def __str__(self) -> str:
        mark, end = ("WRONG", f": {self.remedy}") if self.is_wrong else ("ok", "")
        return f"{mark:5}  {self.what:20} {self.found}{end}"
