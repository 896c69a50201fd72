"""What the pages say twice is equal, and what README points to is there."""

from __future__ import annotations

import re

from blocks import PAGES, ROOT

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_what_works_is_the_readme_s_table() -> None:
    readme = _table((ROOT / "README.md").read_text(encoding="utf-8").split("## What works")[1])
    page = _table((ROOT / "docs" / "what-works.md").read_text(encoding="utf-8"))
    moved = {"](docs/": "](", "[configs](configs/README.md)": "`configs/README.md`"}
    for there, here in moved.items():
        readme = [line.replace(there, here) for line in readme]
    assert page == readme


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


def _table(text: str) -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    return [line for line in lines[start:] if line.startswith("|")]
