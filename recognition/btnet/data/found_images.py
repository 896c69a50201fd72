"""The image files below a folder, and the files that were not taken: one walk for every command.

Links are followed, and each folder is entered once. Files of the usual endings are taken unread; for all others the
first bytes decide, so that an image is taken whatever its name.
"""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from btnet.images.header import KIND_BYTES, READABLE, image_kind

__all__ = ["IMAGE_ENDINGS", "FoundImages", "first_of", "walk_images"]

IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp")

# Of images whose kind does not show in the first bytes, or that are damaged.
_OTHER_ENDINGS: Final = (
    ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".ppm", ".pgm", ".pbm", ".pnm",
    ".tga", ".exr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip
_SHOWN, _LONGEST = 3, 100


def _by_reason() -> dict[str, list[str]]:
    return defaultdict(list)


@dataclass
class FoundImages:
    """The result of a walk.

    Attributes:
        root: where it began.
        names: of the images below it, separated by slashes, sorted.
        folders: directly in it, sorted.
        left_out: names by reason of images that were not taken, and of folders that could not be read.
        passed_over: names by reason of other files that were not taken.
    """

    root: Path
    names: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=_by_reason)
    passed_over: dict[str, list[str]] = field(default_factory=_by_reason)

    def at_depth(self, depth: int, layout: str) -> FoundImages:
        """The images that lie `depth` folders below the root; the rest are left out, not being in `layout`."""
        inside = [name for name in self.names if name.count("/") == depth]
        if len(inside) == len(self.names):
            return self
        outside = [name for name in self.names if name.count("/") != depth]
        return replace(self, names=inside, left_out={**self.left_out, f"not in {layout}": outside})

    def report(self) -> list[str]:
        """A line for what was left out and one for what was passed over, each only where there is something."""
        return [
            f"{self.root}: {sum(map(len, files.values()))} {what}: "
            + "; ".join(f"{len(names)} {reason} ({first_of(names)})" for reason, names in files.items())
            for files, what in (
                (self.left_out, "images not taken"),
                (self.passed_over, "other files not taken"),
            )
            if files
        ]

    def need_all(self) -> FoundImages:
        """Itself; ValueError if an image was left out, naming the first and why."""
        if self.left_out:
            raise ValueError(
                f"{self.report()[0]}; save them as JPEG or PNG in their place, or take them away"
            )
        return self

    def need_some(self) -> FoundImages:
        """Itself; ValueError if there is no image."""
        if not self.names:
            others = "".join(f"; {line}" for line in self.report())
            raise ValueError(f"{self.root}: no image ({', '.join(IMAGE_ENDINGS)}) in this folder{others}")
        return self

    def sort_in(self, name: str, start: bytes) -> bool:
        """Whether a file without a usual ending is taken, by its first bytes; records it where it is not."""
        kind = image_kind(start)
        if kind in READABLE:
            return True
        if kind:
            self.left_out[f"{kind}, a kind that is not read"].append(name)
        elif name.lower().endswith(_OTHER_ENDINGS):
            self.left_out["of a kind that is not read"].append(name)
        else:
            self.passed_over["no image"].append(name)
        return False


def walk_images(root: Path) -> FoundImages:
    """Look at every file below `root`; NotADirectoryError if it is no folder."""
    if not root.is_dir():
        raise NotADirectoryError(f"{root}: not a folder; give one that holds face images")
    found = FoundImages(root)
    entered: set[tuple[int, int]] = set()
    folders, links = [""], list[str]()
    # Links come last: a folder is entered by its own name where it lies below the root.
    while folders or links:
        folder = folders.pop() if folders else heapq.heappop(links)
        try:
            status = os.stat(root / folder)
            if (status.st_dev, status.st_ino) in entered:
                found.passed_over["a link to a folder that was entered already"].append(folder)
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder) as scanned:
                entries = list(scanned)
        except OSError as error:
            found.left_out[_reason(error)].append(folder or ".")
            continue
        if folder and "/" not in folder:
            found.folders.append(folder)
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                found.passed_over["hidden"].append(name)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                heapq.heappush(links, name)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif _is_taken(entry, name, found):
                found.names.append(name)
    found.names.sort(key=lambda name: name.replace("/", "\0"))
    found.folders.sort()
    for names in (*found.left_out.values(), *found.passed_over.values()):
        names.sort()
    return found


def first_of(names: Sequence[str]) -> str:
    """The first few of many names, for messages."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:_LONGEST] for name in names[:_SHOWN]) + more


def _is_taken(entry: os.DirEntry[str], name: str, found: FoundImages) -> bool:
    try:
        if not os.path.isfile(entry.path):  # a pipe, a socket; or a link, whose target says what is wrong
            os.stat(entry.path)
            found.passed_over["no image"].append(name)
            return False
        if name.lower().endswith(IMAGE_ENDINGS):
            return True
        with open(entry.path, "rb") as file:
            return found.sort_in(name, file.read(KIND_BYTES))
    except OSError as error:
        reason = "a link to nowhere" if entry.is_symlink() else _reason(error)
        found.left_out[reason].append(name)
        return False


def _reason(error: OSError) -> str:
    return f"not readable, {error.strerror or error}"
