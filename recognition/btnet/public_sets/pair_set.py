"""1:1 verification sets of image files: pairs in LFW's text format, or any other list of pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.folder_faces import IMAGE_ENDINGS
from btnet.data.image_files import ImageFiles, files_digest, need_folder
from btnet.files.text import is_whole, read_lines

__all__ = ["PairSet", "make_pair_set", "read_lfw_pairs"]


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of image files.

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
    pairs: Sequence[tuple[str, str]],
    issame: NDArray[np.bool_],
    protocol: Iterable[Path],
    *,
    num_folds: int = 10,
) -> PairSet:
    """Number the images that the pairs name.

    Raises:
        FileNotFoundError: if one of them is missing.
    """
    positions: dict[str, int] = {}
    numbered = np.array(
        [[positions.setdefault(image, len(positions)) for image in pair] for pair in pairs], dtype=np.int64
    )
    images = ImageFiles(root, list(positions))
    checksum = files_digest(images, protocol)
    return PairSet(name, images, numbered[:, 0], numbered[:, 1], issame, num_folds, checksum)


def read_lfw_pairs(path: Path, root: Path) -> PairSet:
    """Read pairs in LFW's format (LFW, XQLFW, SLLFW ...).

    The first line gives the folds F and the pairs N of each kind in a fold; 2 N lines a fold follow, `NAME i j`
    for two images of one person, `NAME i OTHER j` for two people. Image i of a person is
    ROOT/NAME/NAME_000i.jpg (or another ending).

    Args:
        path: the text file.
        root: folder of the people's folders.

    Raises:
        FileNotFoundError, NotADirectoryError: if the file, the folder or an image is missing.
        ValueError: for a line of another form, or another number of lines than the first one says.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected pairs in LFW's format")
    need_folder(root, "ROOT/NAME/NAME_0001.jpg")
    lines = [line.split() for line in read_lines(path) if line.strip()]
    header = lines[0] if lines else []
    if len(header) != 2 or not all(is_whole(field) and int(field) > 0 for field in header):
        raise ValueError(
            f"{path}: the first line is {' '.join(header)[:80]!r}, expected the number of folds and of pairs "
            "of each kind in a fold, such as `10 300`"
        )
    num_folds, num_each = map(int, header)
    if len(lines) - 1 != 2 * num_folds * num_each:
        raise ValueError(
            f"{path}: {len(lines) - 1} pairs, but its first line announces {num_folds} folds of twice "
            f"{num_each}; the file is cut: copy it again"
        )
    names, issame = [], []
    for number, fields in enumerate(lines[1:], start=2):
        first, second = _two_images(path, number, fields)
        names.append((first, second))
        issame.append(len(fields) == 3)
    ending = _ending(root, names[0][0])
    pairs = [(first + ending, second + ending) for first, second in names]
    return make_pair_set(path.stem, root, pairs, np.array(issame), [path], num_folds=num_folds)


def _two_images(path: Path, number: int, fields: list[str]) -> tuple[str, str]:
    if len(fields) == 3:
        fields = [fields[0], fields[1], fields[0], fields[2]]
    if len(fields) != 4 or not (is_whole(fields[1]) and is_whole(fields[3])):
        raise ValueError(
            f"{path}: line {number} is {' '.join(fields)[:80]!r}, expected `NAME i j` or `NAME i OTHER j`"
        )
    return _image(fields[0], fields[1]), _image(fields[2], fields[3])


def _image(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"


def _ending(root: Path, image: str) -> str:
    return next((each for each in IMAGE_ENDINGS if isfile(root / f"{image}{each}")), IMAGE_ENDINGS[0])
