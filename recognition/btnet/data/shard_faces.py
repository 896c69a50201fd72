"""Training faces in tar shards, here or in remote storage, read at random through an index of them.

Remote shards come through fsspec (https, S3, Google Cloud and whatever else it knows), whole and once per machine.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from functools import cached_property
from pathlib import Path

import fsspec
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from btnet.data.class_names import read_class_names
from btnet.data.shard_index import is_url, read_index
from btnet.files.atomic import replacing
from btnet.images.codec import decode_image
from btnet.optional import extra

__all__ = ["ShardFaces"]

_HEADER = tarfile.BLOCKSIZE  # what stands before a file in a tar


class ShardFaces:
    """The images of indexed shards as a sequence of (uint8 RGB [H, W, 3], label).

    Shards that are paths are read where they lie. Shards that are urls are fetched when their first image is asked
    for, into the folder `NAME.shards` beside the index; the loader draws from all shards at once, so that folder
    grows to the size of the set within the first steps. Processes wait for each other's fetches.

    Attributes:
        num_classes: number of identities.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open an index (`tools/index_shards.py`); no shard is opened.

        Raises:
            FileNotFoundError, ValueError: as `read_index`.
        """
        self._path = Path(path)
        self.num_classes, self._shards, self._members = read_index(self._path)
        self._ends = np.cumsum([shard.num_images for shard in self._shards])
        self._files: dict[int, Path] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        """Read and decode one image.

        Raises:
            ValueError: if it does not decode (`CorruptImageError`), or the shard is not the one that was indexed.
            OSError: if the shard cannot be fetched.
        """
        where, data = self._read(index)
        return decode_image(data, where), int(self._members[index]["label"])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Label of every image, int64 [N], from the index."""
        return self._members["label"].astype(np.int64)

    @cached_property
    def class_names(self) -> list[str]:
        """Names in the order of the labels: from `NAME.classes.txt`, else the labels themselves."""
        return read_class_names(self._path, self.num_classes)

    def __reduce__(self) -> tuple[object, ...]:
        return ShardFaces, (self._path,)

    def describe(self, index: int) -> str:
        """Shard and key of an image, for error texts; its number where the shard cannot be read."""
        try:
            return self._read(index)[0]
        except (OSError, ValueError):
            return f"{self._shards[self._shard_of(index)].url}: image {index} of {self._path}"

    def fingerprint(self) -> str:
        """Sha256 over class names and the index, wherever the shards lie.

        Changes when a class or an image is added, removed, renamed or replaced by one of another size.
        """
        digest = hashlib.sha256("\n".join(["shards", *self.class_names]).encode())
        digest.update(np.array([shard[1:] for shard in self._shards], "<i8").tobytes())
        digest.update(self._members.tobytes())
        return digest.hexdigest()

    def _shard_of(self, index: int) -> int:
        return int(np.searchsorted(self._ends, range(len(self))[index], side="right"))

    def _read(self, index: int) -> tuple[str, bytes]:
        """`shard: key` and the encoded bytes."""
        number = self._shard_of(index)
        offset, num_bytes, _ = self._members[index].tolist()
        shard = self._shards[number]
        if number not in self._files:
            self._files[number] = self._fetch(number) if is_url(shard.url) else self._path.parent / shard.url
        # Opened each time: a thousand shards are more files than a process may hold.
        if self._files[number].is_dir():
            raise ValueError(
                f"{self._files[number]}: a folder, {self._path} names it as a shard; index the shards again"
            )
        with open(self._files[number], "rb", buffering=0) as file:
            file.seek(offset - _HEADER)
            # No more than there is: room is made before anything is read.
            block = file.read(min(_HEADER + num_bytes, os.fstat(file.fileno()).st_size))
        try:
            header = tarfile.TarInfo.frombuf(block[:_HEADER], "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            header = tarfile.TarInfo()
        if header.size != num_bytes or len(block) != _HEADER + num_bytes:
            raise ValueError(
                f"{self._files[number]}: no image of {num_bytes} bytes at {offset}, where {self._path} has image "
                f"{index}; the shard was changed or cut short: copy it again, or index it again"
            )
        where = shard.url if is_url(shard.url) else self._files[number]
        return f"{where}: {header.name[:200]}", block[_HEADER:]

    def _fetch(self, number: int) -> Path:
        """A local copy of a shard, which other processes find as well; whole or absent."""
        shard = self._shards[number]
        stop = int(self._ends[number])
        # Named by what was indexed: a shard that was written anew is fetched anew.
        members = self._members[stop - shard.num_images : stop].tobytes()
        name = hashlib.sha256(f"{shard.url} {shard.num_bytes} ".encode() + members).hexdigest()[:24]
        path = self._path.with_suffix(".shards") / f"{name}.tar"
        if path.is_file():
            return path
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                with replacing(path) as temporary:
                    _copy(shard.url, temporary)
                    found = temporary.stat().st_size
                    if found != shard.num_bytes:
                        raise ValueError(
                            f"{shard.url}: {found} bytes came, {self._path} says {shard.num_bytes}; the shard was "
                            "replaced, or is no shard: upload it again, or index it again"
                        )
        return path


def _copy(url: str, path: Path) -> None:
    """Fetch one file.

    Raises:
        ValueError: for an unknown kind of storage.
        MissingExtraError: if its package is missing.
        OSError: for whatever else went wrong, which each storage says in its own way.
    """
    try:
        with extra("remote"):
            storage, remote = fsspec.core.url_to_fs(url)
    except ValueError as error:
        raise ValueError(f"{url}: {error}; expected https, s3, gs or another protocol of fsspec") from error
    try:
        storage.get_file(remote, os.fspath(path))
    except Exception as error:
        raise OSError(f"{url}: this shard could not be fetched: {error!r}") from error
