"""From result files to the sections of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from btnet_lab.report.identification import RATE_TASKS, plain_section, rate_sections, survface_sections
from btnet_lab.report.page import Picture, Section
from btnet_lab.report.results import ResultFile
from btnet_lab.report.sources import sources_section
from btnet_lab.report.verification import verification_section
from btnet_lab.report.verification_scores import collect

_MEDIA_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
_Layout = Callable[[Sequence[ResultFile]], list[Section]]


def report_sections(files: Sequence[ResultFile], pictures: Sequence[Picture] = ()) -> list[Section]:
    """Sections in the order of the paper; tasks without a layout of their own are shown as written."""
    by_task: dict[str, list[ResultFile]] = {}
    for file in files:
        by_task.setdefault(file.task, []).append(file)
    sections = []
    for task, layout in _LAYOUTS.items():
        if task in by_task:
            sections += layout(by_task.pop(task))
    for found in by_task.values():
        sections += [plain_section(file) for file in found]
    if pictures:
        sections.append(Section("Pictures", blocks=pictures))
    return [*sections, sources_section(files)]


def read_picture(path: Path) -> Picture:
    """A PNG or SVG, captioned by its file's name.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: for another kind of file.
    """
    if path.suffix not in _MEDIA_TYPES:
        raise ValueError(f"{path}: the report shows {' and '.join(_MEDIA_TYPES)} pictures; convert it first")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such picture")
    caption = path.stem.replace("_", " ").replace("-", " ").capitalize()
    return Picture(f"{caption}.", path.read_bytes(), _MEDIA_TYPES[path.suffix])


def _verification(files: Sequence[ResultFile]) -> list[Section]:
    return [verification_section(scores) for scores in collect(files) if scores.entries]


_LAYOUTS: dict[str, _Layout] = {
    "verification": _verification,
    "survface": survface_sections,
    **dict.fromkeys(RATE_TASKS, rate_sections),
}
