"""A list of image files below one folder: all there before work begins, read one at a time."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.found_images import first_of, walk_images
from btnet.images.codec import decode_image

__all__ = ["ImageFiles", "files_digest", "list_images", "need_folder"]


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
        """Decode one image.

        Raises:
            CorruptImageError: if it does not decode.
        """
        path = self.root / self.names[index]
        return decode_image(path.read_bytes(), str(path))

    def digest(self) -> str:
        """Sha256 over names and sizes in bytes, in order; contents are not read."""
        digest = hashlib.sha256()
        for name, num_bytes in zip(self.names, self._num_bytes, strict=True):
            digest.update(f"{name}\0{num_bytes}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


def need_folder(path: Path, layout: str) -> Path:
    """The folder itself, if it is one.

    Raises:
        NotADirectoryError: naming it and the layout that was expected.
    """
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


def files_digest(images: ImageFiles, protocol: Iterable[Path]) -> str:
    """Checksum of a data set: contents of the protocol's files, names and sizes of the images."""
    digest = hashlib.sha256(images.digest().encode())
    for path in protocol:
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
