"""Faces listed by name and label: those of identity folders, or of a text file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from btnet.data.class_names import name_classes
from btnet.data.face_files import FaceFiles, stored_name
from btnet.data.folder_faces import FolderFaces
from btnet.data.found_images import FoundImages
from btnet.files.text import Line, is_utf8, is_whole, plain_name, read_lines

__all__ = ["FaceList", "ListedFace", "list_folder", "read_face_list"]


class ListedFace(NamedTuple):
    """The name of an image under a root, its label, and where it is listed, for errors."""

    name: str
    label: int
    where: str


@dataclass(frozen=True)
class FaceList:
    """Faces in the order of their labels.

    Attributes:
        faces: as they are packed.
        class_names: one for each label, as `name_classes` gives them.
        root: folder where the names start.
        found: the walk that found them, for a folder.
    """

    faces: list[ListedFace]
    class_names: list[str] | None
    root: Path
    found: FoundImages | None = None

    @property
    def num_classes(self) -> int:
        """Labels run from 0 to one less."""
        return self.faces[-1].label + 1


def list_folder(folder: Path) -> FaceList:
    """The images of FOLDER/IDENTITY/IMAGE; errors as `FolderFaces`."""
    faces = FolderFaces(folder)
    labelled = zip(faces.found.names, faces.labels.tolist(), strict=True)
    listed = [ListedFace(name, label, str(folder)) for name, label in labelled]
    return FaceList(listed, faces.class_names, folder, faces.found)


def read_face_list(path: Path, root: Path) -> FaceList:
    """Read the faces of a list, one a line.

    `archive/identity/name.jpg label`, where `archive` is a folder, or archive.zip, under `root`, and names may hold
    spaces; or as in .lst files: `index<TAB>label<TAB>name` of MXNet, `aligned<TAB>name<TAB>label` of insightface.

    Raises:
        ValueError: for a line of another form, with its number, labels with gaps, or one name with two labels.
        NotADirectoryError: if there is no such root.
    """
    with FaceFiles(root) as files:
        listed = sorted((_face(line, files) for line in read_lines(path)), key=lambda face: face.label)
    _check_contiguous(path, listed)
    _check_same(listed)
    return FaceList(listed, name_classes((face.name, face.label) for face in listed), root)


def _face(line: Line, files: FaceFiles) -> ListedFace:
    fields = [field.strip() for field in line.text.split("\t")]
    if len(fields) == 1:
        fields = line.text.rsplit(maxsplit=1)
    if len(fields) == 3 and is_whole(fields[0]):
        # Of .lst files there are two kinds: the name of an image is no number.
        places = [place for place in (1, 2) if _label(fields[place]) is None]
        fields = [fields[places[0]], fields[3 - places[0]]] if len(places) == 1 else []
    label = _label(fields[1]) if len(fields) == 2 and fields[0] else None
    if label is None:
        raise line.error(
            "`archive/identity/name.jpg label` or `index<TAB>label<TAB>name`, with a label of 0 or more"
        )
    if not is_utf8(fields[0]):
        stored_name(files, fields[0], line)
    return ListedFace(fields[0], label, line.where)


def _label(field: str) -> int | None:
    """A label, which .lst files write with decimals; None if it is none."""
    whole, _, decimals = field.partition(".")
    return int(whole) if is_whole(whole) and not decimals.strip("0") else None


def _check_same(listed: list[ListedFace]) -> None:
    """An image has one label, and so has a folder whose name stands there in two normal forms."""
    images: dict[str, ListedFace] = {}
    folders: dict[str, ListedFace] = {}
    for face in listed:
        folder = face.name.rpartition("/")[0]
        other = images.setdefault(plain_name(face.name), face)
        if other.label == face.label:
            other = folders.setdefault(plain_name(folder), face)
            if other.name.rpartition("/")[0] == folder:
                continue
        if other.label != face.label:
            raise ValueError(
                f"{face.where}: {face.name!r} has label {face.label}, the same name has label {other.label} at "
                f"{other.where}; give one person one label"
            )


def _check_contiguous(path: Path, listed: list[ListedFace]) -> None:
    labels = np.unique([face.label for face in listed])
    if not len(labels):
        raise ValueError(f"{path}: no line in it; expected `archive/identity/name.jpg label`")
    gaps = np.flatnonzero(labels != np.arange(len(labels)))
    if len(gaps):
        where = next(face.where for face in listed if face.label == labels[gaps[0]])
        raise ValueError(
            f"{where}: no image has label {gaps[0]}, the next label is {labels[gaps[0]]}; labels must run "
            f"from 0 to {len(labels) - 1} without a gap, one for each of the {len(labels)} classes: "
            "renumber them"
        )
