"""Result files as a Markdown page and an HTML report, with their pictures."""

from __future__ import annotations

import io
import json
from pathlib import Path

from matplotlib.figure import Figure

from btnet.evaluation.plots import save_figure
from btnet.files.atomic import replacing
from btnet_lab.evidence.figure_pictures import captions, figure_pictures
from btnet_lab.evidence.figures import read_figures
from btnet_lab.evidence.native_tables import native_answers, native_sections
from btnet_lab.evidence.pictures import pictures
from btnet_lab.evidence.record import read_records
from btnet_lab.evidence.sections import answers, sections
from btnet_lab.report.page import Picture, html_page, markdown_page, picture_of

_TITLE = "Evidence on real faces"
_LEAD = (
    "Written by btnet-lab evidence from the {count} result files in {folder}. The faces shown are rendered and "
    "belong to nobody."
)
_WHOLE = (
    " Every table, all paired differences, costs, hyper-parameters and figures: {page}, beside this page."
)
# Pictures of pixels, smaller so than as SVG; faces and maps are shown as they are in the dark, too.
_OF_PIXELS = ("fig3", "fig8", "fig10")
_NEVER_INVERTED = ("fig3", "fig10")


def about_file(folder: Path) -> Path:
    """Of the result files in a folder: what belongs to no single run, which is sets, shared work and comparisons."""
    return folder / "about" / "about.json"


def write_page(folder: Path, page: Path) -> list[Path]:
    """Write the page of the result files in a folder.

    Args:
        folder: of the result files; below it `about/about.json` and the data of `figures` if there are some.
        page: Markdown file, the answers alone; its pictures go to `images/` beside it, and everything to the HTML
            report of the same name.

    Returns:
        What was written.
    """
    records = read_records(folder)
    if not records:
        raise FileNotFoundError(f"{folder}: no result file in it; run `btnet-lab evidence` first")
    path = about_file(folder)
    about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = read_figures(folder)
    drawn = {**pictures(records, about.get("comparisons", [])), **figure_pictures(data)}
    words = captions(records, data)
    charts = {name: _picture(name, figure, words[name]) for name, figure in drawn.items()}
    paper = sections(records, about, data, charts)
    whole = [*paper, *native_sections(folder)]
    short = [*answers(paper), *native_answers(folder)]
    lead = _LEAD.format(folder=folder.name, count=len(records))
    written = []
    shown = {block.file for section in short for block in section.blocks if isinstance(block, Picture)}
    for name, figure in drawn.items():
        if charts[name].file in shown:
            written.append(page.parent / charts[name].file)
            save_figure(figure, written[-1])
    texts = {
        page: markdown_page(_TITLE, lead + _WHOLE.format(page=page.with_suffix(".html").name), short),
        page.with_suffix(".html"): html_page(_TITLE, lead, whole, "Made by btnet-lab evidence."),
    }
    for target, text in texts.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [*texts, *written]


def _picture(name: str, figure: Figure, caption: str) -> Picture:
    file = f"images/evidence_{name}.png"
    if name not in _OF_PIXELS:
        return picture_of(figure, caption, file=file)
    buffer = io.BytesIO()
    is_chart = name not in _NEVER_INVERTED
    figure.savefig(buffer, format="png", dpi=96, facecolor="none" if is_chart else "white")
    return Picture(caption, buffer.getvalue(), "image/png", is_chart, file)
