"""Our hooks and compatibility edits in a checkout of arcface_torch: planned, written, and taken back line by line.

Every line that is written ends in `# btnet`; a line that was there stands below it as `# btnet was: ...`. So the
checkout itself tells what was changed, and taking it back leaves the user's own edits alone.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from btnet.files.atomic import replacing
from btnet.interop.arcface_edits import HOOKS, Edit, Installed, UnfamiliarError, compatibility

__all__ = ["PlannedFile", "find_checkout", "plan", "undo", "write"]

_MARK: Final = "# btnet"
_WAS: Final = re.compile(r"(?P<indent>\s*)# btnet was: (?P<line>.*)")
_HOOKED: Final = ("with_btnet", "branch_training")  # by this command, or by hand
_INSIDE: Final = Path("recognition", "arcface_torch")


@dataclass(frozen=True)
class PlannedFile:
    """A file of the checkout, as it is and as it is to be.

    Attributes:
        path: of the file.
        name: below the checkout.
        old, new: its text; equal where nothing is to be done, or nothing can be.
        findings: "line N: what does not run", or what a hook adds.
        obstacle: why the file is left whole although something was to be done; empty if there is none.
    """

    path: Path
    name: str
    old: str
    new: str
    findings: tuple[str, ...] = ()
    obstacle: str = ""

    def difference(self) -> str:
        """What changes, as a unified diff."""
        old, new = self.old.splitlines(keepends=True), self.new.splitlines(keepends=True)
        lines = difflib.unified_diff(old, new, self.name, self.name)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def find_checkout(path: Path) -> Path:
    """The folder arcface_torch of a checkout of InsightFace, or that folder itself.

    Raises:
        FileNotFoundError: if there is none.
    """
    for folder in (path, path / _INSIDE):
        if all((folder / name).is_file() for name in HOOKS):
            return folder
    raise FileNotFoundError(
        f"{path}: holds no {' and '.join(HOOKS)}; give the folder recognition/arcface_torch"
    )


def plan(checkout: Path, packages: Installed) -> list[PlannedFile]:
    """The Python files of a checkout that something is to be done in, by name; nothing is written.

    Args:
        checkout: from `find_checkout`.
        packages: from `btnet.interop.arcface_edits.installed`.
    """
    planned = (_plan_file(path, checkout, packages) for path in sorted(checkout.rglob("*.py")))
    return [file for file in planned if file.findings or file.obstacle]


def undo(checkout: Path) -> list[PlannedFile]:
    """What taking all changes back makes of the files that hold some; `write` does it."""
    texts = {path: _read(path) for path in sorted(checkout.rglob("*.py"))}
    return [
        PlannedFile(path, path.relative_to(checkout).as_posix(), text, restored)
        for path, text in texts.items()
        if (restored := "".join(_restored(text))) != text
    ]


def write(file: PlannedFile) -> None:
    """Write a planned file, whole or not at all, with its permissions."""
    mode = file.path.stat().st_mode
    with replacing(file.path) as temporary:
        temporary.write_bytes(file.new.encode("utf-8", errors="surrogateescape"))
    file.path.chmod(mode)


def _plan_file(path: Path, checkout: Path, packages: Installed) -> PlannedFile:
    name, old = path.relative_to(checkout).as_posix(), _read(path)
    tree = _parsed(old)
    if tree is None:
        obstacle = "is no Python of this version" if name in HOOKS else ""
        return PlannedFile(path, name, old, old, obstacle=obstacle)
    try:
        edits = list(compatibility(tree, packages))
        if name in HOOKS and not any(word in old for word in _HOOKED):
            edits += HOOKS[name](tree)
        new = _edited(old, edits) if edits else old
    except UnfamiliarError as error:
        return PlannedFile(path, name, old, old, obstacle=str(error))
    edits.sort(key=lambda edit: edit.line)
    return PlannedFile(path, name, old, new, tuple(dict.fromkeys(f"line {e.line}: {e.why}" for e in edits)))


def _edited(text: str, edits: list[Edit]) -> str:
    out: list[str] = []
    num_marks = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        body = line.rstrip("\r\n")
        ending = line[len(body) :]
        here = [edit for edit in edits if edit.line == number]
        added = [edit.text for edit in here if edit.columns is None]
        replaced = [(*edit.columns, edit.text) for edit in here if edit.columns is not None]
        if replaced:
            content = body.encode()
            for start, end, new_text in sorted(replaced, reverse=True):
                content = content[:start] + new_text.encode() + content[end:]
            added.append(content.decode())
            indent = body[: len(body) - len(body.lstrip())]
            line = f"{indent}{_MARK} was: {body[len(indent) :]}{ending}"
        out += [f"{each}  {_MARK}{ending or chr(10)}" for each in added]
        out.append(line)
        num_marks += len(added) + bool(replaced)
    new = "".join(out)
    # In a text of several lines a mark would be no comment, and behind a backslash it would be an error.
    if _parsed(new) is None or _num_marks(new) != num_marks or "".join(_restored(new)) != text:
        raise UnfamiliarError("a line to be changed is part of a longer text or statement")
    return new


def _num_marks(text: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return sum(text.endswith(_MARK) or _WAS.fullmatch(text) is not None for text in comments)


def _restored(text: str) -> Iterator[str]:
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        if match := _WAS.fullmatch(body):
            yield match["indent"] + match["line"] + line[len(body) :]
        elif not body.endswith(f"  {_MARK}"):
            yield line


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _read(path: Path) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()
