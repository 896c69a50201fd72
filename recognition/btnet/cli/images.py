"""What commands that read a user's images share: files not taken are told, and the exit status then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from btnet.console import show

if TYPE_CHECKING:
    from btnet.data.found_images import FoundImages

LEFT_OUT: Final = 3
"""Exit status: done, but without some images."""


def tell_left_out(found: FoundImages) -> int:
    """Say on standard error which files were not taken, and why.

    Returns:
        `LEFT_OUT` if there are images among them, else 0.
    """
    for line in found.report():
        show(f"btnet: {line}", error=True)
    return LEFT_OUT if found.left_out else 0
