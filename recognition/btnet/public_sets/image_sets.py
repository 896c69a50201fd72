"""Benchmarks of image files: the images, and which of them are gallery and probes (1:N) or pairs (1:1)."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.data.found_images import first_of, walk_images
from btnet.data.pair_list import NUM_FOLDS, read_pairs_of_list
from btnet.files.digest import sha256
from btnet.images.codec import decode_image

__all__ = [
    "NOBODY",
    "Group",
    "IdentificationSet",
    "ImageFiles",
    "PairSet",
    "list_images",
    "make_pair_set",
    "make_set",
    "need_folder",
    "read_lfw_pairs",
]

NOBODY = -1
"""Identity of a face whose person is in no gallery, or has no probe."""


class ImageFiles:
    """Images named by a protocol, in its order; `files[i]` is decoded uint8 RGB [H, W, 3].

    Attributes:
        root: folder that the names start from.
        names: paths below it, separated by slashes.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        """Look at every file once (its presence and size; no content).

        Raises:
            FileNotFoundError: naming how many are missing, and the first of them.
            ValueError: if there is no name at all.
        """
        self.root, self.names = root, list(names)
        if not self.names:
            raise ValueError(f"{root}: the protocol names no image")
        missing, self._num_bytes = [], []
        for name in self.names:
            try:
                self._num_bytes.append((root / name).stat().st_size)
            except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no name of a file
                missing.append(name)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                missing.append(name)
        if missing:
            raise FileNotFoundError(
                f"{root}: {len(missing)} of {len(self.names)} images are not there, "
                f"{first_of(missing)}; unpack the data set again, or point to the folder that holds it"
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Decode one image; CorruptImageError if it does not decode."""
        path = self.root / self.names[index]
        return decode_image(path.read_bytes(), str(path))

    def checksum(self, protocol: Iterable[Path]) -> str:
        """Sha256 of the names and sizes of the images, in order, and of the contents of the protocol's files."""
        names = hashlib.sha256()
        for name, num_bytes in zip(self.names, self._num_bytes, strict=True):
            names.update(f"{name}\0{num_bytes}\n".encode(errors="surrogateescape"))
        digest = hashlib.sha256(names.hexdigest().encode())
        for path in protocol:
            digest.update(f"{path.name}\0{sha256(path)}\n".encode())
        return digest.hexdigest()


def need_folder(path: Path, layout: str) -> Path:
    """The folder itself; NotADirectoryError names it and the layout that was expected."""
    if not path.is_dir():
        raise NotADirectoryError(f"{path}: no such folder; expected {layout}")
    return path


def list_images(folder: Path) -> list[str]:
    """Names of the images in a folder, numbers in them in order of size (distractors_2 before distractors_10).

    Raises:
        ValueError: if it holds none, or one that is not taken.
    """
    names = walk_images(folder).at_depth(0, "FOLDER/IMAGE").need_all().need_some().names
    return sorted(names, key=lambda name: [(len(part), part) for part in re.findall(r"\d+|\D+", name)])


class Group(NamedTuple):
    """Consecutive images of a set and whom they show.

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
    """Make a 1:N set of groups, and check that every probe can be found.

    Args:
        name: of the benchmark.
        root: folder that the images' names start from.
        groups: name -> names of images, identities; "gallery" among them.
        protocol: files that define the set, for the checksum.

    Raises:
        ValueError: if a probe's person is not in the gallery.
        FileNotFoundError: if an image is missing.
    """
    made: dict[str, Group] = {}
    images: list[str] = []
    for group, (names, ids) in groups.items():
        lost = np.flatnonzero((ids != NOBODY) & ~np.isin(ids, groups["gallery"][1]))
        if lost.size:
            raise ValueError(
                f"{root}: {lost.size} of {len(ids)} images of {group} show a person without a gallery "
                f"image, {first_of([names[i] for i in lost])}; no scorer can find them: complete the gallery"
            )
        made[group] = Group(slice(len(images), len(images) + len(names)), ids)
        images += names
    files = ImageFiles(root, images)
    return IdentificationSet(name, files, made, files.checksum(protocol))


@dataclass(frozen=True, eq=False)
class PairSet:
    """A 1:1 benchmark on disk.

    Attributes:
        name: of the set.
        images: each once, in native size.
        first: position of each pair's first image in `images`, int64 [P].
        second: of its second.
        issame: whether a pair shows one person, bool [P].
        num_folds: folds of consecutive pairs that the protocol has.
        checksum: of the protocol's files, and the names and sizes of the images.
    """

    name: str
    images: ImageFiles
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    issame: NDArray[np.bool_]
    num_folds: int
    checksum: str


def make_pair_set(
    name: str,
    root: Path,
    names: Sequence[str],
    issame: NDArray[np.bool_],
    protocol: Iterable[Path],
    *,
    num_folds: int = NUM_FOLDS,
) -> PairSet:
    """Make a 1:1 set; the images of pair i are `names` 2 i and 2 i + 1. FileNotFoundError if one is missing."""
    positions = {image: number for number, image in enumerate(dict.fromkeys(names))}
    numbers = np.array([positions[image] for image in names], dtype=np.int64)
    images = ImageFiles(root, list(positions))
    checksum = images.checksum(protocol)
    return PairSet(name, images, numbers[::2], numbers[1::2], issame, num_folds, checksum)


def read_lfw_pairs(path: Path, root: Path) -> PairSet:
    """Read a list of pairs in LFW's format (LFW, XQLFW, pairsDevTest), or any other of `read_pairs_of_list`.

    Args:
        path: the text file.
        root: folder that the names start from; in LFW's format image i of a person is ROOT/NAME/NAME_000i.jpg (or
            another ending).

    Raises:
        FileNotFoundError, NotADirectoryError: if the file, the folder or an image is missing.
        ValueError: as `read_pairs_of_list`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a list of pairs, such as LFW's pairs.txt")
    need_folder(root, "ROOT/NAME/NAME_0001.jpg")
    names, issame, num_folds = read_pairs_of_list(path, root)
    return make_pair_set(path.stem, root, names, np.array(issame), [path], num_folds=num_folds)
