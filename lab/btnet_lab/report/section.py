"""What a page is made of: sections of tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from btnet_lab.report.table import Table
from btnet_lab.style import svg_text

__all__ = ["Picture", "Section", "picture_of"]


@dataclass(frozen=True)
class Picture:
    """A picture with a caption.

    Attributes:
        caption: below it; what it shows, in words.
        content: of the file.
        media_type: "image/svg+xml" or "image/png".
        is_chart: drawn in black on nothing, so that it can be turned light on dark.
        file: where a Markdown page finds it, from the page's folder; "": it is left out there.
    """

    caption: str
    content: bytes
    media_type: str
    is_chart: bool = False
    file: str = ""


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: of the part.
        lead: sentences below the title.
        blocks: tables and pictures in order.
    """

    title: str
    lead: str = ""
    blocks: Sequence[Table | Picture] = field(default=())


def picture_of(figure: Figure, caption: str, *, file: str = "") -> Picture:
    """A chart, as SVG."""
    return Picture(caption, svg_text(figure).encode(), "image/svg+xml", is_chart=True, file=file)
