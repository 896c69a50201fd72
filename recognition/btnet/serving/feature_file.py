"""Embeddings kept on disk: what a network has seen before it is not run on again, and a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from btnet import __version__
from btnet.files.atomic import temporary_name
from btnet.serving.embedding import Network, embed_images, network_fingerprint

__all__ = ["EmbeddingCache", "FeatureFile"]

_FEATURES: Final = "features.npy"
_DONE: Final = "done.npy"
_KEY: Final = "key.json"


class EmbeddingCache:
    """Stands for `embed_images`, and remembers.

    An answer is found by all that decides it: weights and input size of the network, pixels, view and
    interpolation, whether mirror images are added. Two models that share a trunk share its answers.

    Args:
        folder: of the feature files; created when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        network: Network,
        images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        *,
        view_size: int | None = None,
        interpolation: str = "bilinear",
        batch_size: int = 32,
        mirror: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """As `embed_images`, with its errors."""
        pixels = hashlib.sha256()
        for image in images:
            pixels.update(f"{image.shape}".encode() + np.ascontiguousarray(image).tobytes())
        key = {
            "network": network_fingerprint(network),
            "input_size": network.input_size,
            "inner_size": getattr(network, "inner_size", None),
            "images": pixels.hexdigest(),
            "views": {"resolution": view_size, "interpolation": interpolation, "mirror": mirror},
        }
        file = FeatureFile.open(self.folder, key, len(images), network.embedding_size)
        if file.done.all():
            progress(len(images))
        else:
            found = embed_images(
                network,
                images,
                view_size=view_size,
                interpolation=interpolation,
                batch_size=batch_size,
                mirror=mirror,
                progress=progress,
            )
            file.write(np.arange(len(images)), found)
        return np.array(file.features)


class FeatureFile:
    """One row of float32 for each image, and which rows are there.

    Attributes:
        folder: where the two arrays lie, named by the key.
        features: float32 [N, D], mapped from disk; rows that are not done are zero.
        done: bool [N], mapped from disk.
    """

    def __init__(self, folder: Path) -> None:
        """Open an existing one; see `open`."""
        self.folder = folder
        self.features: NDArray[np.float32] = np.load(folder / _FEATURES, mmap_mode="r+")
        self.done: NDArray[np.bool_] = np.load(folder / _DONE, mmap_mode="r+")

    @classmethod
    def open(cls, root: Path, key: Mapping[str, Any], num_rows: int, size: int) -> Self:
        """Open the file of a key below `root`, or make it.

        Args:
            root: folder of many such files.
            key: all that the features depend on: network, data set, views; plain JSON values. The version of
                btnet is added.
            num_rows: N.
            size: D.

        Raises:
            ValueError: if a file of this key is damaged.
            OSError: if the disk has no room for it.
        """
        text = json.dumps(
            {**key, "btnet": __version__, "num_rows": num_rows, "size": size}, sort_keys=True, indent=2
        )
        folder = root / hashlib.sha256(text.encode()).hexdigest()[:24]
        if not folder.is_dir():
            _make(folder, text, num_rows, size)
        try:
            opened = cls(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder}: damaged features ({error}); remove this folder") from error
        if opened.features.shape != (num_rows, size) or opened.done.shape != (num_rows,):
            raise ValueError(
                f"{folder}: features of shape {list(opened.features.shape)}, expected [{num_rows}, {size}]; "
                "remove this folder"
            )
        return opened

    def write(self, rows: NDArray[np.int64], features: NDArray[np.float32]) -> None:
        """Keep rows for good: they count as done only when they are on disk."""
        self.features[rows] = features
        _flush(self.features)
        self.done[rows] = True
        _flush(self.done)


def _make(folder: Path, key: str, num_rows: int, size: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_killed_run in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    temporary = temporary_name(folder)
    temporary.mkdir()
    try:
        (temporary / _KEY).write_text(key + "\n")
        np.lib.format.open_memmap(temporary / _FEATURES, "w+", np.dtype(np.float32), (num_rows, size))
        np.lib.format.open_memmap(temporary / _DONE, "w+", np.dtype(np.bool_), (num_rows,))
        for name in (_FEATURES, _DONE):
            _take_space(temporary / name)
        os.replace(temporary, folder)
    except OSError as error:
        raise OSError(
            f"{folder}: no room for {num_rows} embeddings of {size} numbers ({error}); make room, or name a "
            "folder on another disk"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _take_space(path: Path) -> None:
    """Have the disk set a file's space aside: a mapped file that finds the disk full ends the process (SIGBUS)."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _flush(array: NDArray[Any]) -> None:
    assert isinstance(array, np.memmap)
    array.flush()
