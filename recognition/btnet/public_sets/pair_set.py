"""1:1 verification sets of image files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.image_files import ImageFiles, files_digest, need_folder
from btnet.data.pair_list import NUM_FOLDS, read_pairs_of_list

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
    num_folds: int = NUM_FOLDS,
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
    """Read pairs in LFW's format (LFW, XQLFW, pairsDevTest), or in another that `read_pairs_of_list` knows.

    Image i of a person is ROOT/NAME/NAME_000i.jpg (or another ending).

    Args:
        path: the text file.
        root: folder that the names start from; of LFW's format that of the people's folders.

    Raises:
        FileNotFoundError, NotADirectoryError: if the file, the folder or an image is missing.
        ValueError: as `read_pairs_of_list`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a list of pairs, such as LFW's pairs.txt")
    need_folder(root, "ROOT/NAME/NAME_0001.jpg")
    names, issame, num_folds = read_pairs_of_list(path, root)
    pairs = list(zip(names[::2], names[1::2], strict=True))
    return make_pair_set(path.stem, root, pairs, np.array(issame), [path], num_folds=num_folds)
