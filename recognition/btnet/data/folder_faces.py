"""Training faces in folders, one per identity: `root/IDENTITY/IMAGE.jpg`."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.class_names import check_class_names
from btnet.data.found_images import IMAGE_ENDINGS, FoundImages, walk_images
from btnet.files.text import plain_name
from btnet.images.codec import decode_image

__all__ = ["FolderFaces", "UnlabelledFaces"]


class FolderFaces:
    """Images in identity folders as a sequence of (uint8 RGB [H, W, 3], label).

    Identities are the folders sorted by name, images the files in them sorted by name.

    Attributes:
        class_names: folder names in the order of the labels, in the form of `plain_name`.
        labels: label of every image, int64 [N].
        found: the images below the root, and what was not taken.
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
        found = walk_images(self._root).at_depth(1, "FOLDER/IDENTITY/IMAGE")
        names = sorted(found.names, key=lambda name: [plain_name(part) for part in name.split("/")])
        self.found = replace(found, names=names)
        folders = sorted(found.folders, key=plain_name)
        self.class_names = check_class_names(folders, str(self._root))
        if not folders:
            raise ValueError(f"{self._root}: no identity folder; expected {self._root}/IDENTITY/IMAGE.jpg")
        identities = [name.partition("/")[0] for name in self.found.names]
        empty = sorted(set(folders).difference(identities))
        if empty:
            told = "".join(f"; {line}" for line in self.found.report())
            raise ValueError(
                f"{self._root / empty[0]}: no image ({', '.join(IMAGE_ENDINGS)}) in this identity "
                f"folder; remove the folder or put its images there{told}"
            )
        number = {name: label for label, name in enumerate(folders)}
        self.labels: NDArray[np.int64] = np.array([number[name] for name in identities], np.int64)

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return len(self.class_names)

    def __len__(self) -> int:
        return len(self.found.names)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Read and decode one image; CorruptImageError if it does not decode."""
        path = self._root / self.found.names[index]
        return decode_image(path.read_bytes(), str(path)), int(self.labels[index])

    def describe(self, index: int) -> str:
        """The file of an image, for error texts."""
        return str(self._root / self.found.names[index])

    def fingerprint(self) -> str:
        """Sha256 over the names of identities and images, wherever the root lies.

        Changes when a class or an image is added, removed or renamed; contents are not read.
        """
        lines = ["folder"]
        for label, name in zip(self.labels, self.found.names, strict=True):
            lines.append(f"{self.class_names[label]}/{plain_name(name.partition('/')[2])}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class UnlabelledFaces(FolderFaces):
    """The images anywhere below a folder, where nobody says whose: one label for all."""

    def __init__(self, found: FoundImages) -> None:
        """Take what a walk found."""
        self._root, self.found = found.root, found
        self.class_names = ["unlabelled faces"]
        self.labels = np.zeros(len(found.names), np.int64)

    def fingerprint(self) -> str:
        """Sha256 over the names of the images."""
        return hashlib.sha256("\n".join(["unlabelled", *self.found.names]).encode()).hexdigest()
