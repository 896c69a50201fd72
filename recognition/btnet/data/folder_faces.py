"""Training faces in folders, one per identity: `root/IDENTITY/IMAGE.jpg`."""

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.class_names import check_class_names
from btnet.files.text import plain_name
from btnet.images.codec import decode_image

__all__ = ["IMAGE_ENDINGS", "FolderFaces"]

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class FolderFaces:
    """Images in identity folders as a sequence of (uint8 RGB [H, W, 3], label).

    Identities are the folders sorted by name, images the files in them sorted by name; names that start with
    a dot, and files of other endings, are not looked at.

    Attributes:
        class_names: folder names in the order of the labels, in the form of `plain_name`.
        labels: label of every image, int64 [N].
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """List the images below `root`.

        Raises:
            NotADirectoryError: if there is no such folder.
            ValueError: if there is no identity folder, one without an image (a label nothing trains), or two of one
                name in different normal forms.
        """
        self._root = Path(root)
        if not self._root.is_dir():
            raise NotADirectoryError(f"{self._root}: not a folder; expected one folder per identity in it")
        folders = (entry.name for entry in os.scandir(self._root) if _is_shown_folder(entry))
        self._folders = sorted(folders, key=plain_name)
        self.class_names = check_class_names(self._folders, str(self._root))
        self._names: list[str] = []
        counts: list[int] = []
        for identity in self._folders:
            images = (entry.name for entry in os.scandir(self._root / identity) if _is_image(entry))
            names = sorted(sorted(images), key=plain_name)
            if not names:
                raise ValueError(
                    f"{self._root / identity}: no image ({', '.join(IMAGE_ENDINGS)}) in this identity "
                    "folder; remove the folder or put its images there"
                )
            self._names += names
            counts.append(len(names))
        if not counts:
            raise ValueError(f"{self._root}: no identity folder; expected {self._root}/IDENTITY/IMAGE.jpg")
        self.labels: NDArray[np.int64] = np.repeat(np.arange(len(counts), dtype=np.int64), counts)

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Read and decode one image; CorruptImageError if it does not decode."""
        return decode_image(self.path(index).read_bytes(), self.describe(index)), int(self.labels[index])

    def path(self, index: int) -> Path:
        """The file of an image."""
        return self._root / self._folders[int(self.labels[index])] / self._names[index]

    def describe(self, index: int) -> str:
        """The file of an image, for error texts."""
        return str(self.path(index))

    def fingerprint(self) -> str:
        """Sha256 over the names of identities and images, wherever the root lies.

        Changes when a class or an image is added, removed or renamed; contents are not read.
        """
        named = zip(self.labels, self._names, strict=True)
        lines = (f"{self.class_names[label]}/{plain_name(name)}" for label, name in named)
        return hashlib.sha256("\n".join(["folder", *lines]).encode()).hexdigest()


def _is_shown_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _is_image(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() and not entry.name.startswith(".") and entry.name.lower().endswith(IMAGE_ENDINGS)
