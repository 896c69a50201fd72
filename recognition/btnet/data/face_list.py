"""Faces listed by name and label: those of identity folders, or of a text file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from btnet.data.folder_faces import FolderFaces
from btnet.files.text import is_whole, read_lines

__all__ = ["FaceList", "ListedFace", "list_folder", "read_face_list"]


class ListedFace(NamedTuple):
    """One line: the name under a root, the label, and where it is said, for errors."""

    name: str
    label: int
    where: str


@dataclass(frozen=True)
class FaceList:
    """Faces in the order of their labels.

    Attributes:
        faces: as they are packed.
        class_names: one for each label; None where two would be the same.
        root: folder where the names start.
    """

    faces: list[ListedFace]
    class_names: list[str] | None
    root: Path

    @property
    def num_classes(self) -> int:
        """Labels run from 0 to one less."""
        return self.faces[-1].label + 1


def list_folder(folder: Path) -> FaceList:
    """The images of FOLDER/IDENTITY/IMAGE.

    Raises:
        ValueError, FileNotFoundError: as `FolderFaces`.
    """
    faces = FolderFaces(folder)
    names = [faces.path(index).relative_to(folder).as_posix() for index in range(len(faces))]
    labels = faces.labels.tolist()
    listed = [ListedFace(name, label, str(folder)) for name, label in zip(names, labels, strict=True)]
    return FaceList(listed, faces.class_names, folder)


def read_face_list(path: Path, root: Path) -> FaceList:
    """Read lines `archive/identity/name.jpg label`; `archive` is a folder, or archive.zip, under `root`.

    Raises:
        ValueError: for a line of another form, or labels with gaps.
    """
    listed = sorted(_read_lines(path), key=lambda face: face.label)
    _check_contiguous(path, listed)
    return FaceList(listed, _name_classes(listed), root)


def _read_lines(path: Path) -> Iterator[ListedFace]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        # Names may hold spaces; the label is the last field.
        name, *label = line.strip().rsplit(maxsplit=1)
        if len(label) != 1 or not is_whole(label[0]):
            raise ValueError(
                f"{path}: line {number} is {line[:80]!r}, expected `archive/identity/name.jpg label`"
            )
        yield ListedFace(name, int(label[0]), f"{path}: line {number}")


def _check_contiguous(path: Path, listed: list[ListedFace]) -> None:
    labels = np.unique([face.label for face in listed])
    if not len(labels):
        raise ValueError(f"{path}: no line in it; expected `archive/identity/name.jpg label`")
    gaps = np.flatnonzero(labels != np.arange(len(labels)))
    if len(gaps):
        raise ValueError(
            f"{path}: no image has label {gaps[0]}, the next label is {labels[gaps[0]]}; labels must run "
            f"from 0 to {len(labels) - 1} without a gap, one for each of the {len(labels)} classes: "
            "renumber them"
        )


def _name_classes(listed: list[ListedFace]) -> list[str] | None:
    """The folder of each class's first image, unless two classes share one: then there are no names."""
    names: dict[int, str] = {}
    for face in listed:
        names.setdefault(face.label, face.name.rpartition("/")[0])
    return list(names.values()) if len(set(names.values())) == len(names) else None
