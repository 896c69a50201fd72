"""A teacher cache on disk: rows of float16 files, and what they were made of.

teacher_cache.json   fingerprints, layers and shapes, precision, layout, interpolation
NAME.f16             [num_images, 2, *shape], little-endian; [:, 1] is of the mirror image. NAME is a coupling
                     layer, or "embedding"
done.u8              a byte per block of 64 images: 0 until its rows are on the disk
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.files.atomic import replacing

__all__ = ["BLOCK", "CacheContents", "CacheFiles"]

BLOCK = 64  # images that are made, and lost when a build is killed, together

_HEADER, _DONE = "teacher_cache.json", "done.u8"
_FORMAT, _VERSION = "btnet-teacher-cache", 1
_DTYPE = np.dtype("<f2")


@dataclass(frozen=True)
class CacheContents:
    """All that decides what a cache holds.

    Attributes:
        trunk_fingerprint: of the trunk.
        data_fingerprint: of the set.
        num_images: in the set.
        canonical_size: of the trunk's input, in px.
        precision: of the trunk's activations, as torch names it.
        layout: of feature maps: "channels_last" rows are [r, r, C], "contiguous" ones [C, r, r].
        interpolation: what images of another size are resized with.
        shapes: of a row, by name.
    """

    trunk_fingerprint: str
    data_fingerprint: str
    num_images: int
    canonical_size: int
    precision: str
    layout: str
    interpolation: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def num_blocks(self) -> int:
        """Blocks of images."""
        return math.ceil(self.num_images / BLOCK)

    def bytes_per_image(self, *names: str) -> int:
        """Bytes of an image and its mirror image."""
        return sum(2 * math.prod(self.shapes[name]) * _DTYPE.itemsize for name in names)

    def block(self, number: int) -> range:
        """The images of a block."""
        return range(number * BLOCK, min((number + 1) * BLOCK, self.num_images))


class CacheFiles:
    """The files of a cache, complete or in the making.

    Attributes:
        folder: where they lie.
        contents: what they hold; more layers than were asked for, perhaps.
    """

    def __init__(self, folder: Path, wanted: CacheContents) -> None:
        """Open the files in `folder`, which must be what the run wants; layers beyond it do no harm.

        Raises:
            FileNotFoundError: if there is no cache.
            ValueError: if it is damaged, or stale: made of something else. The message says of what.
        """
        self.folder = folder
        self.contents = _read_header(folder)
        self._refuse_stale(wanted)
        for name in self.contents.shapes:
            path, size = self._path(name), wanted.num_images * self.contents.bytes_per_image(name)
            if not path.is_file() or path.stat().st_size != size:
                raise ValueError(
                    f"{path}: expected a file of {size} bytes; remove {folder}, to have it built again"
                )
        if len(self.done()) != self.contents.num_blocks:
            raise ValueError(f"{folder / _DONE}: damaged; remove {folder}, to have it built again")

    @classmethod
    def create(cls, folder: Path, contents: CacheContents) -> None:
        """Lay out an empty cache where there is none. Its files take disk space only as they are filled.

        Raises:
            OSError: if the folder cannot be written to.
        """
        if (folder / _HEADER).exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in contents.shapes:
            with open(folder / f"{name}.f16", "wb") as file:
                file.truncate(contents.num_images * contents.bytes_per_image(name))
        (folder / _DONE).write_bytes(bytes(contents.num_blocks))
        header = {"format": _FORMAT, "version": _VERSION, **dataclasses.asdict(contents)}
        with replacing(folder / _HEADER) as temporary:  # last: from here on it is a cache
            temporary.write_text(json.dumps(header, indent=2) + "\n")

    def done(self) -> NDArray[np.uint8]:
        """State of each block, as the file has it now."""
        return np.fromfile(self.folder / _DONE, np.uint8)

    def rows(self, name: str) -> NDArray[np.float16]:
        """The file mapped into memory, [2 * num_images, *shape]: image k is row 2 k, its mirror image 2 k + 1."""
        shape = (2 * self.contents.num_images, *self.contents.shapes[name])
        mapped = np.memmap(self._path(name), _DTYPE, "r", shape=shape)
        return mapped.view(np.ndarray)

    def write(self, block: int, rows: Mapping[str, NDArray[np.float16]]) -> None:
        """Write the rows of a block, [images of the block, 2, *shape] by name; once they are on the disk, say so.

        Raises:
            OSError: if the disk is full.
        """
        for name, values in rows.items():
            with open(self._path(name), "r+b") as file:
                file.seek(self.contents.block(block).start * self.contents.bytes_per_image(name))
                file.write(np.ascontiguousarray(values, _DTYPE).data)
                file.flush()
                os.fsync(file.fileno())
        with open(self.folder / _DONE, "r+b") as file:
            file.seek(block)
            file.write(b"\1")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.f16"

    def _refuse_stale(self, wanted: CacheContents) -> None:
        found, expected = (dataclasses.asdict(contents) for contents in (self.contents, wanted))
        # Layers beyond those of this run do no harm.
        found["shapes"] = {name: found["shapes"].get(name) for name in expected["shapes"]}
        for name, value in expected.items():
            if found[name] != value:
                raise ValueError(
                    f"{self.folder}: stale teacher cache: its {name.replace('_', ' ')} is {str(found[name])[:200]}, "
                    f"that of this run {value}; remove {self.folder}, or name another folder in teacher_cache"
                )


def _read_header(folder: Path) -> CacheContents:
    path = folder / _HEADER
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no teacher cache, though the first rank made one; with several machines teacher_cache must "
            "lie on a file system that all of them see"
        )
    try:
        header: dict[str, Any] = json.loads(path.read_text())
        kind = (header.pop("format"), header.pop("version"))
        header["shapes"] = {name: tuple(shape) for name, shape in header["shapes"].items()}
        contents = CacheContents(**header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path}: not the header of a teacher cache ({str(error)[:200]}); remove {folder}"
        ) from error
    if kind != (_FORMAT, _VERSION):
        raise ValueError(
            f"{path}: format {str(kind)[:80]}, this version reads {(_FORMAT, _VERSION)}; remove {folder}"
        )
    return contents
