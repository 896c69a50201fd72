"""What the pages link to and name is there."""

from __future__ import annotations

import importlib
import re

from blocks import PAGES, ROOT
from btnet.cli import COMMANDS
from btnet_lab.cli import COMMANDS as LAB_COMMANDS

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_links_lead_to_files_that_are_there() -> None:
    for page in PAGES:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target} is not there"


def test_every_picture_of_the_docs_is_shown_or_linked() -> None:
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in _LINK.findall(page.read_text(encoding="utf-8"))
        if target.endswith(".png")
    }
    assert shown == {path.resolve() for path in (ROOT / "docs" / "images").glob("*.png")}


def test_the_papers_page_has_a_line_for_every_equation_table_and_figure_and_leads_to_what_is_there() -> None:
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    for heading, last in (("Equations", 12), ("Tables", 11), ("Figures", 12)):
        section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        heads = [line.split(":")[0] for line in section.splitlines() if re.match(r"\| \d", line)]
        numbers = [[int(n) for n in re.findall(r"\d+", head)] for head in heads]
        ranges = [
            range(n[0], n[-1] + 1) if " to " in head else n for head, n in zip(heads, numbers, strict=True)
        ]
        assert sorted(n for found in ranges for n in found) == list(range(1, last + 1)), heading
    symbols = re.findall(r"`([a-z_.0-9]+:[A-Za-z_.0-9]+)`", text)
    assert len(symbols) > 30
    for told in symbols:
        module, _, name = told.partition(":")
        found: object = importlib.import_module(
            module if module.startswith("btnet_lab.") else f"btnet.{module}"
        )
        for part in name.split("."):
            found = getattr(found, part)
    for config in re.findall(r"`configs/([a-z0-9_*]+)`", text):
        assert list((ROOT / "configs").glob(f"{config}.py")), config
    for program, command in re.findall(r"`(btnet(?:-lab)?) ([a-z-]+)", text):
        assert command in (COMMANDS if program == "btnet" else LAB_COMMANDS), command
