"""Code blocks of a Markdown page, with what the comments above them say about them (see CONTRIBUTING.md)."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "configs" / "README.md", *(ROOT / "docs").rglob("*.md")])
SHELLS = ("sh", "bash", "console")
LANGUAGES = (*SHELLS, "python", "pycon", "text")

_FENCE = re.compile(
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"\n]*)")?\n(?P<body>.*?)^(?P=indent)```$',
    re.MULTILINE | re.DOTALL,
)
_MARKS = re.compile(r"<!-- (needs|tested): ((?:(?!-->).)*?) -->\s*(?:<!-- \w+ -->\s*)?\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file it stands in.
        line: of its fence, from 1.
        language: behind the fence.
        body: without the fence, dedented.
        mark: "needs" or "tested" of the comment above, "quoted" for a block with a title, else "": it is run.
        told: what stands behind the mark, or the title.
    """

    page: Path
    line: int
    language: str
    body: str
    mark: str
    told: str

    @property
    def where(self) -> str:
        """Page and line, for messages and test names."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def script(self) -> str:
        """Shell source: of a console block what stands behind the prompts."""
        if self.language != "console":
            return self.body
        kept, goes_on = [], False
        for line in self.body.splitlines():
            if line.startswith("$ ") or goes_on:
                kept.append(line.removeprefix("$ "))
                goes_on = line.endswith("\\")
        return "\n".join(kept) + "\n"

    @property
    def source(self) -> str:
        """Python source: of a pycon block what stands behind the prompts."""
        if self.language != "pycon":
            return self.body
        return "\n".join(line[4:] for line in self.body.splitlines() if line.startswith((">>> ", "... ")))

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command, in order."""
        lines = self.script.replace("\\\n", " ").splitlines()
        words = (shlex.split(line, comments=True) for line in lines)
        return [found for found in words if found]


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = _MARKS.search(text[: match.start()])
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                textwrap.dedent(match["body"]),
                "quoted" if match["title"] else mark[1] if mark else "",
                match["title"] or (mark[2] if mark else ""),
            )
        )
    return found


def indented_blocks(page: Path) -> list[int]:
    """Lines where a block begins that is indented and not fenced; what stands in a list is none."""
    text = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), page.read_text(encoding="utf-8"))
    found, in_list, before = [], False, ""
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"[-*] |\d+\. |!!! |::: ", line):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        if line.startswith("    ") and not before.strip() and not in_list:
            found.append(number)
        before = line
    return found
