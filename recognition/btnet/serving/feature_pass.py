"""One pass over a data set that fills many feature files: each image is decoded once for all it is needed for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from btnet.serving.embedding import Network, embed_images
from btnet.serving.feature_file import FeatureFile

__all__ = ["FeatureTask", "Images", "fill_features", "image_sizes", "read_all"]

Image = NDArray[np.uint8]
_Result = TypeVar("_Result")

_BLOCK = 512


class Images(Protocol):
    """Random access to uint8 RGB [H, W, 3]; ValueError or OSError where an image cannot be read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image: ...


@dataclass(frozen=True, eq=False)
class FeatureTask:
    """A file to fill: some images, seen at one resolution by one network.

    Attributes:
        file: one row for every image of the set.
        network: embeds.
        resolution: of the views, in px.
        mirrored: whether it sees the mirror images.
        rows: positions of the images that are needed, int64.
    """

    file: FeatureFile
    network: Network
    resolution: int
    mirrored: bool
    rows: NDArray[np.int64]

    def pending(self) -> NDArray[np.int64]:
        """The rows that are not there yet."""
        return self.rows[~self.file.done[self.rows]]


def fill_features(
    tasks: Sequence[FeatureTask],
    images: Images,
    view: Callable[[int, Image, int], Image],
    *,
    interpolation: str,
    batch_size: int = 32,
    num_workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[int, str]:
    """Embed what the tasks' files lack.

    Args:
        tasks: what to fill.
        images: the data set.
        view: makes the view of an image: position, image, resolution r -> uint8 RGB [r, r, 3].
        interpolation: brings a view to the size of a network that does not take it as it is.
        batch_size: images per forward pass.
        num_workers: threads that read, decode and make views ahead of the networks.
        progress: called with the number of images done, after each block.

    Returns:
        Position -> reason, of the images that could not be read. They stay not done.

    Raises:
        ValueError: if an embedding is not finite.
    """
    rows = np.unique(np.concatenate([*(task.rows for task in tasks), np.empty(0, dtype=np.int64)]))
    lacks = [np.isin(rows, task.pending(), assume_unique=True) for task in tasks]
    # Blocks follow from the tasks alone and are filled whole: bits of an embedding depend on its batch, and a pass
    # that goes on where one was killed must end with those of an undisturbed one.
    needs = [
        np.isin(rows, task.rows, assume_unique=True) & _spread(lack)
        for task, lack in zip(tasks, lacks, strict=True)
    ]
    left = _spread(np.any([np.zeros(len(rows), np.bool_), *lacks], axis=0))
    rows, needs, lacks = rows[left], [need[left] for need in needs], [lack[left] for lack in lacks]
    unreadable: dict[int, str] = {}

    def views_of(position: int) -> dict[int, Image]:
        row = int(rows[position])
        image = images[row]
        wanted = {task.resolution for task, need in zip(tasks, needs, strict=True) if need[position]}
        return {resolution: view(row, image, resolution) for resolution in wanted}

    for block, found in _in_blocks(len(rows), views_of, num_workers):
        views, readable = {}, np.zeros(len(rows), dtype=np.bool_)
        for position, result in zip(block, found, strict=True):
            if isinstance(result, str):
                unreadable[int(rows[position])] = result
            else:
                views[position] = result
                readable[position] = True
        for task, need, lack in zip(tasks, needs, lacks, strict=True):
            chosen = np.array(block)[need[block] & readable[block]]
            if lack[chosen].any():
                _fill(
                    task, rows[chosen], [views[i][task.resolution] for i in chosen], interpolation, batch_size
                )
        progress(len(block))
    return unreadable


def image_sizes(
    images: Images, *, num_workers: int = 2, progress: Callable[[int], None] = lambda _: None
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Native sizes, which select the branches. Decodes every image: the small ones of native data sets.

    Returns:
        Width and height in px, int64 [N, 2], zero where an image could not be read; and position -> reason of
        those.
    """
    found, unreadable = _of_each(images, lambda image: image.shape[1::-1], (0, 0), num_workers, progress)
    return np.array(found, np.int64).reshape(-1, 2), unreadable


def read_all(
    images: Images, *, progress: Callable[[int], None] = lambda _: None
) -> tuple[list[Image], dict[int, str]]:
    """All images in memory, black ones of one pixel in the place of those that cannot be read.

    Returns:
        The images; and position -> reason of the unreadable.
    """
    return _of_each(images, lambda image: image, np.zeros((1, 1, 3), np.uint8), 2, progress)


def _of_each(
    images: Images,
    look: Callable[[Image], Any],
    otherwise: Any,
    num_workers: int,
    progress: Callable[[int], None],
) -> tuple[list[Any], dict[int, str]]:
    """What is seen in each image, and position -> reason of the unreadable ones."""
    seen, unreadable = [], {}
    for block, found in _in_blocks(len(images), lambda row: look(images[row]), num_workers):
        for row, result in zip(block, found, strict=True):
            if isinstance(result, str):
                unreadable[row] = result
            seen.append(otherwise if isinstance(result, str) else result)
        progress(len(block))
    return seen, unreadable


def _spread(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All positions of the blocks in which one is marked."""
    starts = np.arange(0, len(marked), _BLOCK)
    if not len(starts):
        return marked
    return np.repeat(np.logical_or.reduceat(marked, starts), _BLOCK)[: len(marked)]


def _fill(
    task: FeatureTask, rows: NDArray[np.int64], views: list[Image], interpolation: str, batch_size: int
) -> None:
    stack = np.stack(views)
    if task.mirrored:
        stack = np.ascontiguousarray(stack[:, :, ::-1])
    features = embed_images(
        task.network, stack, interpolation=interpolation, batch_size=batch_size, mirror=False
    )
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if broken.size:
        raise ValueError(
            f"the embeddings of {broken.size} images at {task.resolution} px are NaN or infinite, the first that of "
            f"image {rows[broken[0]]}; the network diverged or its file is broken"
        )
    task.file.write(rows, features)


def _in_blocks(
    count: int, work: Callable[[int], _Result], num_workers: int
) -> Iterator[tuple[range, list[_Result | str]]]:
    """Results of 0 .. count - 1 in order; a block is worked on while the one before it is used."""

    def attempt(index: int) -> _Result | str:
        try:
            return work(index)
        except (ValueError, OSError) as error:
            return " ".join(str(error).split())

    blocks = [range(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        ahead: list[list[Future[_Result | str]]] = []
        for number, block in enumerate(blocks):
            for following in blocks[number + len(ahead) : number + 2]:
                ahead.append([pool.submit(attempt, index) for index in following])
            yield block, [future.result() for future in ahead.pop(0)]
