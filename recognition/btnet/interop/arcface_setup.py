"""Our hooks and compatibility edits in a checkout of arcface_torch: planned, written, and taken back line by line.

Every line that is written ends in `# btnet`; a line that was there stands below it as `# btnet was: ...`. So the
checkout itself tells what was changed, and taking it back leaves the user's own edits alone.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from btnet.files.atomic import replacing
from btnet.interop.arcface_edits import (
    HOOKS,
    Edit,
    Insertion,
    Installed,
    Replacement,
    UnfamiliarError,
    compatibility,
)

__all__ = ["PlannedFile", "find_checkout", "missing_packages", "plan", "undo", "write"]

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
        lines = difflib.unified_diff(
            self.old.splitlines(keepends=True), self.new.splitlines(keepends=True), self.name, self.name
        )
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
    """Look at every Python file of a checkout; nothing is written.

    Args:
        checkout: from `find_checkout`.
        packages: from `btnet.interop.arcface_edits.installed`.

    Returns:
        The files that something is to be done in, in order of their names.
    """
    paths = {path.relative_to(checkout).as_posix(): path for path in checkout.rglob("*.py")}
    planned = (_plan_file(path, name, packages) for name, path in sorted(paths.items()))
    return [file for file in planned if file.findings or file.obstacle]


def write(file: PlannedFile) -> None:
    """Write a planned file, whole or not at all, with its permissions."""
    _write(file.path, file.new)


def undo(checkout: Path) -> list[PlannedFile]:
    """What taking all changes back makes of the files that hold some; `write` does it."""
    found = []
    for path in sorted(checkout.rglob("*.py")):
        text = _read(path)
        restored = "".join(_restored(text))
        if restored != text:
            found.append(PlannedFile(path, path.relative_to(checkout).as_posix(), text, restored))
    return found


def missing_packages(checkout: Path) -> dict[str, list[str]]:
    """Packages that the checkout's code needs and that are not installed, each with the files that import it.

    MXNet is not among them: `plan` puts our readers in its place.
    """
    missing: dict[str, list[str]] = {}
    own = (
        {"mxnet"}
        | {path.stem for path in checkout.glob("*.py")}
        | {path.name for path in checkout.iterdir() if path.is_dir()}
    )
    for path in sorted(checkout.rglob("*.py")):
        tree = _parsed(_read(path))
        for package in sorted(_imported(tree) if tree else ()):
            if package not in own and package not in sys.stdlib_module_names and find_spec(package) is None:
                missing.setdefault(package, []).append(path.relative_to(checkout).as_posix())
    return dict(sorted(missing.items()))


def _plan_file(path: Path, name: str, packages: Installed) -> PlannedFile:
    old = _read(path)
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
    findings = dict.fromkeys(f"line {edit.line}: {edit.why}" for edit in sorted(edits, key=lambda e: e.line))
    return PlannedFile(path, name, old, new, tuple(findings))


def _edited(text: str, edits: list[Edit]) -> str:
    lines = text.splitlines(keepends=True)
    inserted: dict[int, list[str]] = {}
    replaced: dict[int, list[Replacement]] = {}
    for edit in edits:
        if isinstance(edit, Insertion):
            inserted.setdefault(edit.line, []).append(edit.text)
        else:
            replaced.setdefault(edit.line, []).append(edit)
    out = []
    for number, line in enumerate(lines, 1):
        body = line.rstrip("\r\n")
        ending = line[len(body) :] or "\n"
        out += [f"{added}  {_MARK}{ending}" for added in inserted.get(number, ())]
        if number in replaced:
            content = body.encode()
            for edit in sorted(replaced[number], key=lambda edit: edit.start, reverse=True):
                content = content[: edit.start] + edit.text.encode() + content[edit.end :]
            out.append(f"{content.decode()}  {_MARK}{ending}")
            indent = body[: len(body) - len(body.lstrip())]
            out.append(f"{indent}{_MARK} was: {body[len(indent) :]}{line[len(body) :]}")
        else:
            out.append(line)
    new = "".join(out)
    # In a text of several lines a mark would be no comment, and behind a backslash it would be an error.
    marks = (
        len(inserted_lines) if (inserted_lines := [t for texts in inserted.values() for t in texts]) else 0
    )
    if (
        _parsed(new) is None
        or _num_marks(new) != marks + 2 * len(replaced)
        or "".join(_restored(new)) != text
    ):
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


def _imported(tree: ast.Module) -> set[str]:
    """First names of the modules that a file imports when it is read."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


def _read(path: Path) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _write(path: Path, text: str) -> None:
    mode = path.stat().st_mode
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    path.chmod(mode)
