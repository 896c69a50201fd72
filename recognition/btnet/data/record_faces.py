"""Training faces in InsightFace's `.rec` layout: read them, write them.

    record 0            flag 2, labels [n_images + 1, end], no payload
    records 1 .. n      the images, sorted by label
    records n+1 .. end  one per identity: flag 2, labels [its first image, its last + 1], no payload

Sets without record 0 as above exist: then every record is an image.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.class_names import check_class_names, read_class_names, write_class_names
from btnet.data.recordio import Header, RecordReader, RecordWriter
from btnet.images.codec import decode_image

__all__ = ["RecordFaces", "write_record_faces"]

_FLOAT32_EXACT = 1 << 24  # counts above this are rounded in a record's float32 labels
_NUM_HASHED_LABELS = 4096


class RecordFaces:
    """The images of a `.rec` as a sequence of (uint8 RGB [H, W, 3], label).

    Attributes:
        num_classes: number of identities.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a `.rec` with its `.idx` beside it, and `NAME.classes.txt` if there are names.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the file holds no image or lacks records, or, where it does not announce its classes, as
                `labels`.
        """
        num_ranges = self._open(path)
        # While the classes are being counted, any whole number is a label that float32 tells from its neighbours.
        self._label_end = num_ranges or _FLOAT32_EXACT
        self.num_classes = num_ranges or int(self.labels.max()) + 1

    def _open(self, path: str | os.PathLike[str]) -> int:
        """Open the file and find its images; the number of identities where the file tells (else 0)."""
        self._reader = RecordReader(path)
        self._path = self._reader.path
        self._keys, num_ranges = self._find_images()
        if not len(self._keys):
            raise ValueError(f"{self._path}: holds no image record; pack it again with tools/make_rec.py")
        return num_ranges

    def _find_images(self) -> tuple[NDArray[np.int64], int]:
        """Keys of the images, and the number of identities where the file tells (else 0)."""
        keys = self._reader.keys
        if not len(keys) or keys[0] != 0:
            return keys, 0
        header, payload = self._reader.read(0)
        # A vector-labelled image may have flag 2 as well; it has a payload.
        if payload or isinstance(header.label, float) or len(header.label) != 2:
            return keys, 0
        if not np.isfinite(header.label).all():
            raise ValueError(
                f"{self._path}: record 0 announces {header.label.tolist()}, expected whole numbers; copy the .rec again"
            )
        end_of_images, end = int(header.label[0]), int(header.label[1])
        if max(end_of_images, end) > _FLOAT32_EXACT:
            end = int(keys[-1]) + 1
            end_of_images = self._find_end_of_images(end_of_images, end)
        num_images = int(np.searchsorted(keys, end_of_images)) - 1
        if num_images != end_of_images - 1:
            raise ValueError(
                f"{self._path}: record 0 announces images 1 .. {end_of_images - 1}, the index has "
                f"{num_images} keys in that range; copy the .idx again, or rebuild it with "
                "tools/make_rec.py --index"
            )
        # Some tools write something else as `end`: believed only if that many records follow.
        num_ranges = end - end_of_images
        is_plausible = 0 < num_ranges <= num_images and int(keys[-1]) + 1 == end == len(keys)
        return keys[1 : num_images + 1], num_ranges if is_plausible else 0

    def _find_end_of_images(self, rounded: int, end: int) -> int:
        """The first record without payload, near a count that float32 has rounded."""
        spacing = max(1, int(np.spacing(np.float32(rounded))))
        for key in range(max(1, rounded - spacing), min(rounded + spacing + 1, end)):
            if not self._reader.read(key)[1]:
                return key
        return min(rounded, end)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Decode one image: CorruptImageError if it does not; ValueError for a damaged record or a wrong label."""
        header, payload = self._reader.read(int(self._keys[index]))
        label = header.label if isinstance(header.label, float) else float(header.label[0])
        if not (0 <= label < self._label_end and label.is_integer()):
            raise self._bad_label(index, label)
        return decode_image(payload, self.describe(index)), int(label)

    def encoded(self, index: int) -> bytes:
        """An image as it is packed, JPEG or PNG."""
        return bytes(self._reader.read(int(self._keys[index]))[1])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Label of every image, int64 [N]; the first access scans the record headers.

        Raises:
            ValueError: naming the record, if a label is no class, or a class has no image.
        """
        labels = self._reader.read_first_labels(self._keys)
        is_class = (labels >= 0) & (labels < self._label_end) & (labels == np.floor(labels))
        bad = np.flatnonzero(~is_class)
        if len(bad):
            raise self._bad_label(int(bad[0]), float(labels[bad[0]]))
        whole = labels.astype(np.int64)
        self._check_gaps(whole)
        return whole

    def _check_gaps(self, labels: NDArray[np.int64]) -> None:
        announced = self._label_end if self._label_end < _FLOAT32_EXACT else 0
        gaps = np.flatnonzero(np.bincount(labels, minlength=announced) == 0)
        if not len(gaps):
            return
        above = np.flatnonzero(labels > gaps[0])
        found = f"{self._path}: record 0 announces {announced} classes"
        if len(above):
            found = f"{self.describe(int(above[0]))}: label {labels[above[0]]}"
        raise ValueError(
            f"{found}, but no image has label {gaps[0]}: such a class cannot be learnt; pack the set again with "
            "contiguous labels"
        )

    @cached_property
    def class_names(self) -> list[str]:
        """Names in the order of the labels: from `NAME.classes.txt`, else the labels themselves."""
        return read_class_names(self._path, self.num_classes)

    # A worker reads the index itself, and does not count the classes again.
    def __getstate__(self) -> tuple[Path, int, int]:
        return self._path, self.num_classes, self._label_end

    def __setstate__(self, state: tuple[Path, int, int]) -> None:
        path, self.num_classes, self._label_end = state
        self._open(path)

    def describe(self, index: int) -> str:
        """File and key of an image, for error texts."""
        return f"{self._path}: record {self._keys[index]}"

    def fingerprint(self) -> str:
        """Sha256 over class names, record keys and offsets, and up to 4096 evenly spaced labels.

        Changes when a class or an image is added, removed, renamed or replaced by one of another size.
        Reads the index, not the images.
        """
        digest = hashlib.sha256("\n".join(["record", *self.class_names]).encode())
        digest.update(self._keys.astype("<i8").tobytes())
        digest.update(self._reader.offsets_of(self._keys).astype("<i8").tobytes())
        sample = np.linspace(0, len(self) - 1, min(len(self), _NUM_HASHED_LABELS)).astype(np.int64)
        digest.update(self._reader.read_first_labels(self._keys[sample]).astype("<f4").tobytes())
        return digest.hexdigest()

    def _bad_label(self, index: int, label: float) -> ValueError:
        return ValueError(
            f"{self.describe(index)}: label {label}, expected a whole number in [0, {self._label_end}); "
            "pack the set again with contiguous labels"
        )


def write_record_faces(
    path: str | os.PathLike[str],
    labels: Sequence[int],
    images: Iterable[bytes],
    *,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a training set as InsightFace's tools do, so that arcface_torch reads it.

    Args:
        path: the `.rec` to write; the `.idx`, and `NAME.classes.txt` if names are given, land beside it.
        labels: label of each image, ascending, 0 .. C - 1 without a gap.
        images: the encoded images in the same order; an iterator is consumed one by one.
        class_names: C names in the order of the labels.

    Raises:
        ValueError: if the labels are not sorted or have a gap, or the counts differ; nothing is left then.
    """
    path = Path(path)
    starts = _class_starts(path, labels)
    num_images, num_classes = len(labels), len(starts)
    if class_names is not None:
        if len(class_names) != num_classes:
            raise ValueError(
                f"{path}: {len(class_names)} class names for {num_classes} classes; give one for each"
            )
        class_names = check_class_names(class_names, str(path), one_a_line=True)
    end_of_images = num_images + 1
    with RecordWriter(path) as writer:
        writer.write(0, Header(2, np.array([end_of_images, end_of_images + num_classes], np.float32)), b"")
        for key, (label, image) in enumerate(zip(labels, images, strict=True), start=1):
            writer.write(key, Header(0, float(label), key), image)
        for label, start in enumerate(starts):
            stop = starts[label + 1] if label + 1 < num_classes else num_images
            key = end_of_images + label
            writer.write(key, Header(2, np.array([start + 1, stop + 1], np.float32), key), b"")
    write_class_names(path, class_names)


def _class_starts(path: Path, labels: Sequence[int]) -> list[int]:
    """Position of each class's first image."""
    starts: list[int] = []
    for position, label in enumerate(labels):
        if label == len(starts):
            starts.append(position)
        elif label != len(starts) - 1:
            raise ValueError(
                f"{path}: image {position} has label {label} where {max(len(starts) - 1, 0)} or "
                f"{len(starts)} is due; labels must ascend from 0 without a gap: "
                "sort the images and renumber the classes"
            )
    if not starts:
        raise ValueError(f"{path}: no image to write; check the input folder or list")
    if len(starts) > _FLOAT32_EXACT:
        raise ValueError(
            f"{path}: {len(starts)} classes; the format tells at most {_FLOAT32_EXACT} labels apart"
        )
    return starts
