"""Result files as a Markdown page and an HTML report, with their pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from btnet.data.atomic import replacing
from btnet.evaluation.style import save_figure
from btnet.evidence.pictures import pictures
from btnet.evidence.record import read_records
from btnet.evidence.tables import sections
from btnet.report.page import html_page, markdown_page
from btnet.report.section import Section, picture_of

__all__ = ["ABOUT", "write_about", "write_page"]

ABOUT = "about"
_TITLE = "Evidence on real faces"
_LEAD = "Made by btnet evidence, from the result files in {folder} alone: {count} runs."
_CAPTIONS = {
    "accuracy": "Accuracy of people never trained on, as faces shrink.",
    "learning": "What more images and more people would add, 14 px; mean and standard deviation over seeds.",
}


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """What belongs to no single run: sets, shared work, comparisons."""
    path = folder / ABOUT / "about.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def write_page(folder: Path, page: Path) -> list[Path]:
    """Write the page of the result files in a folder.

    Args:
        folder: of the result files; `about/about.json` below it if there is one.
        page: Markdown file; pictures go to `images/evidence_*.png` beside it, the HTML report under the same name.

    Returns:
        What was written.

    Raises:
        FileNotFoundError: if there is no result.
        ValueError: if one is damaged.
    """
    records = read_records(folder)
    if not records:
        raise FileNotFoundError(f"{folder}: no result file in it; run `btnet evidence` first")
    path = folder / ABOUT / "about.json"
    about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    parts = sections(records, about)
    figures = pictures(records)
    lead = _LEAD.format(folder=folder.name, count=len(records))
    charts = Section(
        "Pictures", blocks=[picture_of(figure, _CAPTIONS[name]) for name, figure in figures.items()]
    )
    lines = [markdown_page(_TITLE, lead, parts)]
    written = []
    for name, figure in figures.items():
        image = page.parent / "images" / f"evidence_{name}.png"
        save_figure(figure, image)
        lines.append(f"![{_CAPTIONS[name]}](images/{image.name})\n")
        written.append(image)
    texts = {
        page: "\n".join(lines),
        page.with_suffix(".html"): html_page(
            _TITLE, lead, [*parts[:1], charts, *parts[1:]], "Made by btnet evidence."
        ),
    }
    for target, text in texts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [*texts, *written]
