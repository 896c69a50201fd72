"""What 1:N benchmarks have in common: one list of faces, of which groups are gallery and probes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.data.found_images import first_of
from btnet.data.image_files import ImageFiles, files_digest

__all__ = ["NOBODY", "Group", "IdentificationSet", "make_set"]

NOBODY = -1
"""Identity of a face whose person is in no gallery, or plays no probe."""


class Group(NamedTuple):
    """Some consecutive images and whom they show.

    `rows` are their positions in the set's images; `ids` int64 [number of rows], `NOBODY` for distractors.
    """

    rows: slice
    ids: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class IdentificationSet:
    """A 1:N benchmark on disk.

    Attributes:
        name: of the benchmark.
        images: all faces, native sizes.
        groups: name ("gallery", "mated", "probe_d1" ...) -> which of them, and whom they show.
        checksum: of the protocol's files, and the names and sizes of the images.
    """

    name: str
    images: ImageFiles
    groups: Mapping[str, Group]
    checksum: str


def make_set(
    name: str,
    root: Path,
    groups: Mapping[str, tuple[list[str], NDArray[np.int64]]],
    protocol: Iterable[Path],
) -> IdentificationSet:
    """Put the groups behind each other, and check that every probe can be found.

    Args:
        name: of the benchmark.
        root: folder that the images' names start from.
        groups: name -> names of images, identities; "gallery" among them.
        protocol: files that define the set, for the checksum.

    Raises:
        ValueError: if a probe's person is not in the gallery.
        FileNotFoundError: if an image is missing.
    """
    known = np.unique(groups["gallery"][1])
    for group, (names, ids) in groups.items():
        lost = np.flatnonzero((ids != NOBODY) & ~np.isin(ids, known))
        if lost.size:
            raise ValueError(
                f"{root}: {lost.size} of {len(ids)} images of {group} show a person without a gallery "
                f"image, {first_of([names[i] for i in lost])}; no scorer can find them: complete the gallery"
            )
    made, start = {}, 0
    for group, (names, ids) in groups.items():
        made[group] = Group(slice(start, start + len(names)), ids)
        start += len(names)
    images = ImageFiles(root, [image for names, _ in groups.values() for image in names])
    return IdentificationSet(name, images, made, files_digest(images, protocol))
