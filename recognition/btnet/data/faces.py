"""Training sets of faces: what they have in common, and which kind a path names."""

import hashlib
import logging
import os
import re
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from btnet.data.aligned import need_aligned
from btnet.data.folder_faces import FolderFaces
from btnet.data.record_faces import RecordFaces
from btnet.images.codec import CorruptImageError, decode_image, encode_jpeg

__all__ = [
    "CorruptImageError",
    "FaceSet",
    "FolderFaces",
    "NativeCrops",
    "RecordFaces",
    "SkipCorrupt",
    "Subset",
    "decode_image",
    "encode_jpeg",
    "face_for",
    "open_faces",
]

_logger = logging.getLogger(__name__)

_KINDS = (
    "a .rec file, the .json index of shards, a folder of identity folders, or synthetic:IDS:PER_ID[:SEED]"
)
_SYNTHETIC = re.compile(r"synthetic(?::(\d+):(\d+)(?::(\d+))?)?")


class FaceSet(Protocol):
    """A labelled set of faces, random access, picklable (workers may be spawned)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[NDArray[np.uint8], int]:
        """An image, uint8 RGB [H, W, 3], and its label in [0, num_classes)."""

    @property
    def num_classes(self) -> int:
        """Number of identities."""

    @property
    def class_names(self) -> list[str]:
        """Names of the identities in the order of the labels."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of every image, int64 [N]; may scan the set at the first access."""

    def describe(self, index: int, /) -> str:
        """Where an image comes from (file and key), for error texts."""

    def fingerprint(self) -> str:
        """Sha256 that changes with the classes, their order and the images; cheap."""


def open_faces(
    spec: str | os.PathLike[str],
    *,
    corrupt: Literal["raise", "skip"] = "raise",
    native_crops: bool = False,
) -> FaceSet:
    """Open a training set by what its name says.

    Args:
        spec: a `.rec` file, the `.json` index of tar shards, a folder of identity folders, or
            `synthetic:IDS:PER_ID[:SEED]` for rendered faces (`synthetic` alone: 64 identities of 16 images).
        corrupt: an image that does not decode stops the run, or is skipped and counted (`SkipCorrupt`); so does one
            in a folder that cannot be taken.
        native_crops: the images may have any size and shape (`NativeCrops`).

    Raises:
        FileNotFoundError: if nothing lies there.
        ValueError: if the name is none of these kinds, or an image in the folder cannot be taken.
    """
    faces = _open(os.fspath(spec))
    if isinstance(faces, FolderFaces):
        if corrupt == "raise":
            faces.found.need_all()
        for line in faces.found.report():
            _logger.warning("%s", line)
    if corrupt == "skip":
        faces = SkipCorrupt(faces)
    return NativeCrops(faces) if native_crops else faces


def _open(spec: str) -> FaceSet:
    if spec.startswith("synthetic"):
        match = _SYNTHETIC.fullmatch(spec)
        if match is None:
            raise ValueError(
                f"{spec}: expected synthetic:IDS:PER_ID or synthetic:IDS:PER_ID:SEED, all whole numbers"
            )
        # Only here: rendering pulls in more than reading files does.
        from btnet.synthetic.faces import SyntheticFaces

        return SyntheticFaces(int(match[1] or 64), int(match[2] or 16), seed=int(match[3] or 0))
    path = Path(spec)
    if path.is_dir():
        return FolderFaces(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder; expected {_KINDS}")
    if path.suffix == ".json":
        # Only here: fsspec is for those who have shards.
        from btnet.data.shard_faces import ShardFaces

        return ShardFaces(path)
    if path.suffix != ".rec":
        raise ValueError(f"{path}: the ending {path.suffix!r} names no training set; expected {_KINDS}")
    return RecordFaces(path)


class _Set:
    """A set that wraps another one, whose answers it gives."""

    def __init__(self, faces: FaceSet) -> None:
        """Wrap `faces`."""
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self._faces[index]

    @property
    def num_classes(self) -> int:
        return self._faces.num_classes

    @property
    def class_names(self) -> list[str]:
        return self._faces.class_names

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._faces.labels

    def describe(self, index: int) -> str:
        return self._faces.describe(index)

    def fingerprint(self) -> str:
        return self._faces.fingerprint()


class NativeCrops(_Set):
    """A set whose images may have any size and shape, such as QMUL-SurvFace's; training stretches them to squares."""


def face_for(faces: FaceSet, index: int, size: int) -> tuple[NDArray[np.uint8], int]:
    """An image and its label for a network of canonical size `size`; ValueError if it is neither aligned nor native."""
    image, label = faces[index]
    if not isinstance(faces, NativeCrops):
        need_aligned(image, faces.describe(index), size)
    return image, label


class Subset(_Set):
    """Some images of a set, with the labels they have there."""

    def __init__(self, faces: FaceSet, rows: NDArray[np.int64]) -> None:
        """Take the images at `rows`, int64 [M]."""
        super().__init__(faces)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self._faces[int(self._rows[index])]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of every image, int64 [M]."""
        return self._faces.labels[self._rows]

    def describe(self, index: int) -> str:
        """Where an image comes from."""
        return self._faces.describe(int(self._rows[index]))

    def fingerprint(self) -> str:
        """Sha256 over that of the whole set and the rows."""
        return hashlib.sha256(self._faces.fingerprint().encode() + self._rows.tobytes()).hexdigest()


class SkipCorrupt(_Set):
    """A set whose unreadable images are replaced by the next readable one, logged and counted, once per process.

    Only images that do not decode are skipped: a damaged record file or a wrong label still raises.
    """

    def __init__(self, faces: FaceSet) -> None:
        """Wrap `faces`."""
        super().__init__(faces)
        self._corrupt: set[int] = set()

    @property
    def num_skipped(self) -> int:
        """Number of different images this process found unreadable."""
        return len(self._corrupt)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """The image or the next readable one, with its own label; CorruptImageError if the set has none at all."""
        first = range(len(self))[index]
        for step in range(len(self)):
            candidate = (first + step) % len(self)
            if candidate in self._corrupt:
                continue
            try:
                return self._faces[candidate]
            except CorruptImageError as error:
                self._corrupt.add(candidate)
                _logger.warning("%s; skipped, %d so far in process %d", error, self.num_skipped, os.getpid())
        raise CorruptImageError(
            f"{self.describe(first)}: this image is unreadable, and so are all {len(self)} of the set; "
            "copy it again"
        )
