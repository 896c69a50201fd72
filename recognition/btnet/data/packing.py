"""Pack image files into InsightFace's containers: listed faces into a .rec, listed pairs into a .bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from btnet.console import tracked
from btnet.data.bin_sets import write_bin
from btnet.data.face_files import FaceFiles
from btnet.data.face_list import FaceList
from btnet.data.record_faces import write_record_faces
from btnet.images.codec import decode_image, encode_jpeg
from btnet.images.resize import resize

__all__ = ["CANONICAL_SIZE", "pack_faces", "pack_pairs"]

CANONICAL_SIZE: Final = 112
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
        size: px that images of other sizes are resized to; None: an image that is not 112 px is refused.
        keep_size: take images of any size as they are.
        interpolation: of a resize.
        quality: of the JPEG of what is encoded anew.

    Raises:
        ValueError: for an image that does not decode or has another size.
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
    names: Sequence[str], issame: Sequence[bool], output: Path, *, root: Path, source: Path
) -> None:
    """Write a verification set X.bin; the images as they are.

    Args:
        names: faces of pair i at 2 i and 2 i + 1, `archive/identity/name.jpg` under `root`.
        issame: whether a pair shows one person.
        output: X.bin.
        root: where the names start.
        source: who lists the pairs, for errors.

    Raises:
        ValueError: for an image that does not decode, or images of different sizes.
        FileNotFoundError: for a face that is not there.
    """
    images: list[bytes] = []
    sizes: dict[tuple[int, ...], str] = {}
    with FaceFiles(root) as files:
        for name in tracked(names, "reading", len(names)):
            where = f"{source}: pair {len(images) // 2 + 1}"
            images.append(files.read(name, where))
            height, width = decode_image(images[-1], f"{where}: {name}").shape[:2]
            sizes.setdefault((width, height), name)
            if len(sizes) > 1:
                (first, first_name), (other, other_name) = sizes.items()
                raise ValueError(
                    f"{where}: {other_name} is {other[0]} x {other[1]} px, {first_name} is "
                    f"{first[0]} x {first[1]}; one set has one size: align the faces first"
                )
    write_bin(output, images, list(issame))


def _encoded(
    files: FaceFiles, listed: FaceList, size: int | None, interpolation: str, quality: int, *, keep_size: bool
) -> Iterator[bytes]:
    for face in tracked(listed.faces, "packing", len(listed.faces)):
        data = files.read(face.name, face.where)
        where = f"{face.where}: {face.name}"
        # Decoded even where the bytes are kept: a set is packed once and read by every epoch.
        image = decode_image(data, where)
        wanted = CANONICAL_SIZE if size is None else size
        fits = keep_size or image.shape[:2] == (wanted, wanted)
        if fits and data.startswith(_KEPT_AS_THEY_ARE):
            yield data
        elif fits:
            yield encode_jpeg(image, quality)
        elif size is None:
            raise ValueError(
                f"{where} is {image.shape[1]} x {image.shape[0]} px, expected {wanted} x {wanted}; "
                f"align it first, or resize all that differ with `btnet make-rec --size {wanted}`"
            )
        else:
            yield encode_jpeg(resize(image, size, interpolation), quality)
