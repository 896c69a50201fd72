"""Verification sets in InsightFace's `.bin` format: pairs of encoded images in one pickle.

The pickle holds `(list of encoded images, list of bool)`, two images a pair, written by Python 2 or 3. A
pickle can run code; this reader builds lists, bytes, numbers and plain byte arrays, and refuses the rest.
"""

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.data.aligned import need_aligned
from btnet.data.found_images import first_of
from btnet.files.atomic import replacing
from btnet.files.safe_pickle import load_plain_pickle
from btnet.images.codec import CorruptImageError, decode_image, encode_png

__all__ = ["read_bin", "write_bin"]

# Of the decoded images: JPEGs of faces grow to 6 to 15 times their size. A pickle can name one image a million times.
_MOST_BYTES, _MOST_GROWTH = 1 << 28, 100


def read_bin(
    path: str | os.PathLike[str], *, size: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read a verification set; with a `size`, faces must be aligned for a network of that canonical size.

    Returns:
        images: uint8 RGB, [2 P, H, W, 3]; pair i is images 2i and 2i + 1.
        issame: bool, [P]; whether a pair shows one person.

    Raises:
        ValueError: if the file is something else, its counts do not fit, an image does not decode, or the
            images differ in size, or are not aligned.
    """
    path = Path(path)
    encoded, issame = _check_layout(path, load_plain_pickle(path))
    images: NDArray[np.uint8] | None = None
    unreadable: dict[int, str] = {}
    for index in range(len(encoded)):
        try:
            image = _decode(path, encoded, index)
        except CorruptImageError as error:
            unreadable[index] = str(error)
            continue
        if size is not None:
            need_aligned(image, f"{path}: image {index}", size)
        if images is None:
            _check_size(path, len(encoded) * image.nbytes)
            images, first = np.empty((len(encoded), *image.shape), np.uint8), index
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"{path}: image {index} is {_size(image)}, image {first} is {_size(images[first])}; one set has one "
                "size: align the faces first"
            )
        images[index] = image
    if unreadable or images is None:
        raise CorruptImageError(
            f"{next(iter(unreadable.values()))}; {len(unreadable)} of {len(encoded)} images of the set cannot be "
            f"read, those of number {first_of([str(index) for index in unreadable])}"
        )
    return images, issame


def write_bin(
    path: str | os.PathLike[str],
    images: Sequence[bytes | NDArray[np.uint8]] | NDArray[np.uint8],
    issame: Sequence[bool] | NDArray[np.bool_],
) -> None:
    """Write a verification set, whole or not at all.

    Of 2 P images, encoded bytes are stored as they are, arrays (uint8 RGB [H, W, 3]) as PNG, so that reading gives
    the same pixels.

    Raises:
        ValueError: if the counts do not fit, or an array is no image.
    """
    path = Path(path)
    if len(images) != 2 * len(issame) or not len(issame):
        raise ValueError(
            f"{path}: {len(images)} images for {len(issame)} pairs; "
            "give two images for each of one or more pairs"
        )
    encoded = [
        bytes(image) if isinstance(image, bytes) else encode_png(np.asarray(image)) for image in images
    ]
    with replacing(path) as temporary, open(temporary, "wb") as file:
        # Protocol 4 is the oldest that stores bytes as bytes; 2 makes the file half as large again.
        pickle.dump((encoded, [bool(same) for same in issame]), file, protocol=4)


def _check_layout(path: Path, content: object) -> tuple[list[Any], NDArray[np.bool_]]:
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected the pair (images, issame)")
    images, flags = content
    if not isinstance(images, list) or not isinstance(flags, (list, tuple, np.ndarray)):
        raise ValueError(
            f"{path}: holds ({type(images).__name__}, {type(flags).__name__}), expected (list of encoded "
            "images, list of bool); the file is no verification set"
        )
    for index, flag in enumerate(flags):
        if not isinstance(flag, (int, np.integer, np.bool_)) or flag not in (0, 1):
            shown = (
                flag if isinstance(flag, (int, np.integer)) and abs(flag) < 1 << 32 else type(flag).__name__
            )
            raise ValueError(f"{path}: issame of pair {index} is {shown}, expected True or False")
    if len(images) != 2 * len(flags) or not len(flags):
        raise ValueError(
            f"{path}: {len(images)} images for {len(flags)} pairs, expected two images for each of one or "
            "more pairs; the file is damaged: copy it again"
        )
    return images, np.array([bool(flag) for flag in flags])


def _check_size(path: Path, num_bytes: int) -> None:
    most = max(_MOST_BYTES, _MOST_GROWTH * path.stat().st_size)
    if num_bytes > most:
        raise ValueError(
            f"{path}: a file of {path.stat().st_size} bytes holds {num_bytes} bytes of pixels, expected at most "
            f"{most}; it names the same image many times over, or was made to fill the memory"
        )


def _decode(path: Path, encoded: list[Any], index: int) -> NDArray[np.uint8]:
    data = encoded[index]
    if isinstance(data, bytes) or (isinstance(data, np.ndarray) and data.dtype == np.uint8):
        return decode_image(data, f"{path}: image {index}")
    raise ValueError(
        f"{path}: image {index} is a {type(data).__name__}, expected encoded bytes or a uint8 array; "
        "write the set again with tools/make_bin.py"
    )


def _size(image: NDArray[np.uint8]) -> str:
    return f"{image.shape[1]} x {image.shape[0]} px"
