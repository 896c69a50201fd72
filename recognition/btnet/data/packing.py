"""Pack image files into InsightFace's containers: listed faces into a .rec, listed pairs into a .bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.console import tracked
from btnet.data.aligned import CANONICAL_SIZE, need_aligned
from btnet.data.bin_sets import write_bin
from btnet.data.face_files import FaceFiles
from btnet.data.face_list import FaceList
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import decode_image, encode_jpeg, encode_png
from btnet.images.resize import resize

__all__ = ["pack_faces", "pack_pairs"]

_KEPT_AS_THEY_ARE: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n")  # what every reader of .rec files decodes


def pack_faces(
    listed: FaceList,
    output: Path,
    *,
    size: int | None = None,
    keep_size: bool = False,
    interpolation: str = "area",
    quality: int = 95,
) -> None:
    """Write a training set X.rec, with X.idx and the names of its classes beside it.

    JPEG and PNG files that fit are packed byte for byte, others as JPEG.

    Args:
        listed: what to pack.
        output: X.rec.
        size: px that squares of other sizes are resized to; None: they are refused (`need_aligned`).
        keep_size: take images of any size and shape as they are.
        interpolation: of a resize.
        quality: JPEG quality of images that are encoded anew.

    Raises:
        ValueError: for an image that does not decode, has another size, or is not square.
        FileNotFoundError: for a face that is not there.
    """
    with FaceFiles(listed.root) as files:
        write_record_faces(
            output,
            [face.label for face in listed.faces],
            _encoded(files, listed, size, interpolation, quality, keep_size=keep_size),
            class_names=listed.class_names,
        )


def pack_pairs(
    names: Sequence[str],
    issame: Sequence[bool],
    output: Path,
    *,
    root: Path,
    source: Path,
    size: int | None = None,
    interpolation: str = "area",
) -> None:
    """Write a verification set X.bin; images that fit as they are, others as PNG.

    Args:
        names: faces of pair i at 2 i and 2 i + 1, `archive/identity/name.jpg` under `root`.
        issame: whether a pair shows one person.
        output: X.bin.
        root: where the names start.
        source: who lists the pairs, for errors.
        size: as in `pack_faces`, and so are the errors.
        interpolation: of a resize.
    """
    images: list[bytes] = []
    with FaceFiles(root) as files:
        for name in tracked(names, "reading", len(names)):
            where = f"{source}: pair {len(images) // 2 + 1}"
            data = files.read(name, where)
            image = decode_image(data, f"{where}: {name}")
            face = _fitted(image, f"{where}: {name}", size, interpolation)
            images.append(data if face is image else encode_png(face))
    write_bin(output, images, list(issame))


def _encoded(
    files: FaceFiles, listed: FaceList, size: int | None, interpolation: str, quality: int, *, keep_size: bool
) -> Iterator[bytes]:
    for face in tracked(listed.faces, "packing", len(listed.faces)):
        data = files.read(face.name, face.where)
        where = f"{face.where}: {face.name}"
        # Decoded even where the bytes are kept: a set is packed once and read by every epoch.
        image = decode_image(data, where)
        fitted = image if keep_size else _fitted(image, where, size, interpolation)
        keeps = fitted is image and data.startswith(_KEPT_AS_THEY_ARE)
        yield data if keeps else encode_jpeg(fitted, quality)


def _fitted(image: NDArray[np.uint8], where: str, size: int | None, interpolation: str) -> NDArray[np.uint8]:
    """The image itself where its size is the one that is wanted; squares of other sizes resized if one is named."""
    height, width = image.shape[:2]
    if size is None or height != width:
        return need_aligned(image, where, size or CANONICAL_SIZE)
    return image if height == size else resize(image, size, interpolation)
