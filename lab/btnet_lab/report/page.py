"""Sections of tables and pictures, as one HTML page that needs nothing else, and as Markdown."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template

from matplotlib.figure import Figure

from btnet_lab.report.style import STYLE
from btnet_lab.report.table import Table, html_name, md_text, to_html, to_markdown
from btnet_lab.style import svg_text

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><h1>$title</h1><p>$lead</p></header>
<nav aria-label="contents"><ul>$contents</ul></nav>
<main>$main</main>
<footer>$footer</footer>
</body>
</html>
""")


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
    """A titled part of a page: sentences below the title, then tables and pictures in order."""

    title: str
    lead: str = ""
    blocks: Sequence[Table | Picture] = field(default=())


def picture_of(figure: Figure, caption: str, *, file: str = "") -> Picture:
    """A chart, as SVG."""
    return Picture(caption, svg_text(figure).encode(), "image/svg+xml", is_chart=True, file=file)


def html_page(title: str, lead: str, sections: Sequence[Section], footer: str = "") -> str:
    """A page with its style and pictures inside: no scripts, no other files."""
    links = "".join(
        f'<li><a href="#s{i}">{html.escape(section.title)}</a></li>' for i, section in enumerate(sections)
    )
    return _PAGE.substitute(
        title=html.escape(title),
        lead=html.escape(lead),
        style=STYLE,
        contents=links,
        main="".join(_html_section(section, f"s{i}") for i, section in enumerate(sections)),
        footer=html.escape(footer),
    )


def markdown_page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The tables, and the pictures that lie beside the page, in GitHub's Markdown."""
    parts = [f"# {md_text(title)}\n", f"{md_text(lead)}\n"]
    for section in sections:
        parts.append(f"## {md_text(section.title)}\n")
        if section.lead:
            parts.append(f"{md_text(section.lead)}\n")
        for block in section.blocks:
            if isinstance(block, Table):
                parts.append(to_markdown(block))
            elif block.file:
                parts.append(f"![{md_text(block.caption)}]({block.file})\n\n{md_text(block.caption)}\n")
    return "\n".join(parts)


def _html_section(section: Section, anchor: str) -> str:
    blocks = "".join(to_html(b) if isinstance(b, Table) else _html_picture(b) for b in section.blocks)
    lead = f"<p>{html.escape(section.lead)}</p>" if section.lead else ""
    return f'<section id="{anchor}"><h2>{html.escape(section.title)}</h2>{lead}{blocks}</section>'


def _html_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.content).decode("ascii")
    caption = html.escape(picture.caption)
    kind = "picture chart" if picture.is_chart else "picture"
    return (
        f'<figure class="{kind}"><img src="data:{picture.media_type};base64,{data}" alt="{caption}">'
        f"<figcaption>{html_name(picture.caption)}</figcaption></figure>"
    )
