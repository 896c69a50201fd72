"""The index of faces in tar shards: which shards there are, and where in them each image lies.

A shard is an uncompressed tar as WebDataset writes it: `KEY.jpg` (or another image) and `KEY.cls`, its label in
digits, one after the other. The index is two files, so that neither labels nor places ask for a shard:

    NAME.json    number of classes; of each shard its url or path, bytes and number of images
    NAME.npy     of each image, shard after shard: offset and length in bytes, and label

Where the images of each label lie in a folder of their own in the shards, NAME.classes.txt names the classes.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import fsspec
import numpy as np
from numpy.typing import NDArray

from btnet.data.class_names import check_class_names, name_classes, write_class_names
from btnet.data.found_images import IMAGE_ENDINGS, FoundImages
from btnet.files.atomic import replacing
from btnet.images.header import KIND_BYTES

__all__ = ["FORMAT", "MEMBER", "Shard", "is_url", "read_index", "write_index"]

FORMAT = "btnet shard index 1"
_NPY = b"\x93NUMPY\x01\0"
_LONGEST_LABEL = 32  # bytes of a .cls
MEMBER = np.dtype([("offset", "<i8"), ("num_bytes", "<i4"), ("label", "<i4")])


class Shard(NamedTuple):
    """One tar file: its url, or its path, absolute or relative to the index; its bytes; the images in it."""

    url: str
    num_bytes: int
    num_images: int


def is_url(name: str) -> bool:
    """Whether a shard is fetched; otherwise it is a path and read where it lies."""
    return "://" in name


def write_index(
    output: Path, shards: Iterable[str], *, url: str = "", left_out: FoundImages | None = None
) -> tuple[int, int]:
    """Read the headers and labels of shards, and write `output` (.json) and the .npy beside it.

    Args:
        output: the index, `NAME.json`.
        shards: paths or urls, in the order of the images.
        url: where the shards will be fetched from, in place of the folder they are in now.
        left_out: collects the names of files that are neither image nor label.

    Returns:
        Number of images and of classes.

    Raises:
        FileNotFoundError: for a shard that is missing.
        ValueError: naming shard and key, for one that is no plain tar, an image without a label, or labels with gaps.
    """
    if output.suffix != ".json":
        raise ValueError(f"{output}: an index ends in .json; name it {output.stem}.json")
    left_out = FoundImages(output) if left_out is None else left_out
    listed: list[Shard] = []
    members: list[NDArray[Any]] = []
    named: set[tuple[str, int]] = set()
    for name in shards:
        found, num_bytes = _scan(name, named, left_out)
        place = f"{url.rstrip('/')}/{name.rpartition('/')[2]}" if url else _place(name, output)
        listed.append(Shard(place, num_bytes, len(found)))
        members.append(found)
    if not listed:
        raise ValueError(f"{output}: no shard to index; name at least one")
    table = np.concatenate(members)
    labels = np.unique(table["label"])
    gaps = np.flatnonzero(labels != np.arange(len(labels)))
    if len(gaps):
        raise ValueError(
            f"{output}: no image has label {gaps[0]}, the largest is {labels[-1]}; labels must run from 0 without "
            "a gap: index all shards of the set, or renumber its classes"
        )
    names = name_classes(named)
    if names is not None:  # names that somebody wrote stay where the shards have none
        write_class_names(output, check_class_names(names, str(output), one_a_line=True))
    with replacing(output.with_suffix(".npy")) as temporary, temporary.open("wb") as file:
        np.save(file, table)
    text = {"format": FORMAT, "num_classes": len(labels), "shards": [shard._asdict() for shard in listed]}
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return len(table), len(labels)


def read_index(path: Path) -> tuple[int, list[Shard], NDArray[Any]]:
    """Number of classes, the shards, and the members [N] of dtype `MEMBER`, mapped; each is looked at once.

    Raises:
        FileNotFoundError: if one of the two files is missing.
        ValueError: if they are no index, or do not belong together.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        if text["format"] != FORMAT:
            raise ValueError(f"its format is {text['format']!r}")
        num_classes, shards = text["num_classes"], [Shard(**shard) for shard in text["shards"]]
        if not _are_counts(num_classes, *(number for shard in shards for number in shard[1:])):
            raise ValueError("a number in it is no count")
        if not shards or not all(_is_name(shard.url) for shard in shards):
            raise ValueError("it names no shard, or one by what is no name of a file")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a {FORMAT!r} ({str(error)[:200]}); write it with tools/index_shards.py"
        ) from error
    table_path = path.with_suffix(".npy")
    if not table_path.is_file():
        raise FileNotFoundError(f"{table_path}: missing beside {path.name}; copy both files of the index")
    try:
        with open(table_path, "rb") as file:
            # Later versions may announce a header of gigabytes, which would be made room for.
            if file.read(len(_NPY)) != _NPY:
                raise ValueError("it does not start as np.save writes it")
        members: NDArray[Any] = np.load(table_path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError, SyntaxError, TokenError) as error:
        raise ValueError(f"{table_path}: damaged ({str(error)[:200]}); copy it again") from error
    num_images = sum(shard.num_images for shard in shards)
    if members.dtype != MEMBER or members.shape != (num_images,):
        raise ValueError(
            f"{table_path}: {members.dtype} {list(members.shape)}, but {path.name} lists {num_images} images; "
            "the two belong to different sets: index the shards again with tools/index_shards.py"
        )
    if not 0 < num_classes <= num_images:
        raise ValueError(
            f"{path}: {num_classes} classes of {num_images} images; every class has one: index the shards again"
        )
    for shard, stop in zip(shards, np.cumsum([shard.num_images for shard in shards]), strict=True):
        part = members[stop - shard.num_images : stop]
        sound = (part["label"] >= 0) & (part["label"] < num_classes) & (part["offset"] >= tarfile.BLOCKSIZE)
        sound &= (part["num_bytes"] >= 0) & (part["num_bytes"] <= shard.num_bytes - part["offset"])
        if not sound.all():
            place, num_bytes, label = part[np.flatnonzero(~sound)[0]].tolist()
            raise ValueError(
                f"{table_path}: an image with label {label} and {num_bytes} bytes at {place} of {shard.url}, which has "
                f"{shard.num_bytes} bytes, in a set of {num_classes} classes; the index is damaged: copy both again"
            )
    return num_classes, shards, members


def _is_name(url: Any) -> bool:
    if not isinstance(url, str) or "\0" in url:
        return False
    parts = url.encode().split(b"/")
    return sum(map(len, parts)) < 2000 and (is_url(url) or max(map(len, parts)) < 256)


def _are_counts(*numbers: Any) -> bool:
    return all(
        isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 62
        for number in numbers
    )


def _place(name: str, output: Path) -> str:
    """A shard as the index names it: relative where it lies beside the index or below."""
    if is_url(name):
        return name
    path, folder = Path(name).resolve(), output.resolve().parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _scan(name: str, named: set[tuple[str, int]], left_out: FoundImages) -> tuple[NDArray[Any], int]:
    """The images of one shard, and its size in bytes; adds the folder of each label."""
    try:
        with fsspec.open(name, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            found = []
            for image, label in _images(name, archive, left_out):
                found.append((image.offset_data, image.size, label))
                named.add((f"{image.name.rpartition('/')[0]}/", label))
            num_bytes = file.seek(0, os.SEEK_END)
    except tarfile.TarError as error:
        raise ValueError(
            f"{name}: not an uncompressed tar ({error}); write it again, or unpack it"
        ) from error
    if not found:
        raise ValueError(f"{name}: no image ({', '.join(IMAGE_ENDINGS)}) in this shard; leave it out")
    return np.array(found, MEMBER), num_bytes


def _images(
    name: str, archive: tarfile.TarFile, left_out: FoundImages
) -> Iterator[tuple[tarfile.TarInfo, int]]:
    """Each image and its label, which stands right before or behind it."""
    image: tarfile.TarInfo | None = None
    label: int | None = None
    current = ""
    for member in archive:
        if not member.isreg():
            continue
        folder, slash, base = member.name.rpartition("/")
        stem, _, ending = base.partition(".")
        is_image, where = f".{ending.lower()}" in IMAGE_ENDINGS, f"{name}: {member.name}"
        if not stem:
            left_out.passed_over["hidden"].append(where)
            continue
        if not is_image and ending != "cls":
            if left_out.sort_in(where, _start(archive, member, KIND_BYTES)):
                left_out.left_out["of another ending"].append(where)
            continue
        key = f"{folder}{slash}{stem}"
        if key != current:
            _refuse_half(name, current, image, label)
            current, image, label = key, None, None
        if is_image:
            image = member
        else:
            label = _label(_start(archive, member, _LONGEST_LABEL), where)
        if image is not None and label is not None:
            yield image, label
            image = label = None
    _refuse_half(name, current, image, label)


def _start(archive: tarfile.TarFile, member: tarfile.TarInfo, num_bytes: int) -> bytes:
    """Its first bytes only: a sparse member may announce more than any memory holds."""
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read(num_bytes)


def _label(text: bytes, where: str) -> int:
    digits = text.strip()
    if not digits.isdigit() or len(digits) > 9:
        raise ValueError(
            f"{where}: {text[:20]!r}, expected the label in at most 9 digits, as WebDataset writes .cls"
        )
    return int(text)


def _refuse_half(name: str, key: str, image: tarfile.TarInfo | None, label: int | None) -> None:
    if image is not None or label is not None:
        there, missing = ("an image", ".cls") if label is None else ("a label", "image")
        raise ValueError(f"{name}: {key} has {there} but no {missing} next to it; write the shard again")
