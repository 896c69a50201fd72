"""SCFace cut to faces: mug shots as the gallery, surveillance images from three distances as probes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.folder_faces import FolderFaces
from btnet.data.image_files import need_folder
from btnet.public_sets.identification_set import IdentificationSet, make_set

__all__ = ["DISTANCES", "read_scface"]

DISTANCES = ("probe_d1", "probe_d2", "probe_d3")
"""4.20 m, 2.60 m and 1.00 m from the cameras."""


def read_scface(root: Path) -> IdentificationSet:
    """Read groups "gallery", "probe_d1", "probe_d2" and "probe_d3".

    The data set comes as whole camera frames; this is the layout of its cut faces.

    Args:
        root: folder with gallery/IDENTITY/*.jpg and probe_d1, probe_d2, probe_d3 likewise.

    Raises:
        NotADirectoryError: if one of the four is missing.
        ValueError: if an identity is empty, an image cannot be taken, or a probe's identity is not in the gallery.
    """
    faces = {}
    for part in ("gallery", *DISTANCES):
        folder = need_folder(root / part, "ROOT/{gallery, probe_d1, probe_d2, probe_d3}/IDENTITY/*.jpg")
        faces[part] = FolderFaces(folder)
        faces[part].found.need_all()
    people = sorted({name for part in faces.values() for name in part.class_names})
    groups = {part: (_names(root, each), _ids(each, people)) for part, each in faces.items()}
    return make_set("SCFace", root, groups, [])


def _names(root: Path, faces: FolderFaces) -> list[str]:
    return [faces.path(index).relative_to(root).as_posix() for index in range(len(faces))]


def _ids(faces: FolderFaces, people: list[str]) -> NDArray[np.int64]:
    numbers = np.array([people.index(name) for name in faces.class_names], dtype=np.int64)
    return numbers[faces.labels]
