"""Batches of a training run: one global order per (seed, epoch), of which each rank takes its slice."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.context import BaseContext

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from btnet.data.faces import FaceSet
from btnet.data.resize import resize


@dataclass(frozen=True)
class Batch:
    """Images of one rank and step.

    Attributes:
        images: uint8 RGB [B, 3, S, S].
        labels: int64 [B].
        keys: int64 [B], position in the set; what flips and sizes are drawn from.
    """

    images: Tensor
    labels: Tensor
    keys: Tensor


class GlobalOrder(Sampler[list[int]]):
    """Indices of each step of a run for one rank.

    The order of an epoch is a permutation drawn from (seed, epoch) alone. Step i of the epoch takes the i-th
    global batch, of which rank k takes the k-th slice: the same images enter the same step whatever the number
    of ranks, as long as batch_size * world_size is the same. What remains behind the last whole global batch is
    left out of this epoch.

    Raises:
        ValueError: if the set is smaller than one global batch.
    """

    def __init__(
        self,
        num_images: int,
        *,
        batch_size: int,
        num_epochs: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
    ):
        self.global_batch = batch_size * world_size
        self.steps_per_epoch = num_images // self.global_batch
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{num_images} images do not fill one batch of {batch_size} on {world_size} ranks; "
                "lower batch_size, or give more images"
            )
        self.num_images, self.batch_size, self.seed = num_images, batch_size, seed
        self.rank, self.start_step = rank, start_step
        self.total_steps = self.steps_per_epoch * num_epochs

    def __len__(self) -> int:
        return self.total_steps - self.start_step

    def __iter__(self) -> Iterator[list[int]]:
        order, order_epoch = torch.empty(0), -1
        for step in range(self.start_step, self.total_steps):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
                order, order_epoch = torch.randperm(self.num_images, generator=generator), epoch
            first = position * self.global_batch + self.rank * self.batch_size
            yield order[first : first + self.batch_size].tolist()


class _Images(Dataset[tuple[Tensor, int, int]]):
    def __init__(self, faces: FaceSet, size: int, interpolation: str):
        self.faces, self.size, self.interpolation = faces, size, interpolation

    def __getitem__(self, index: int) -> tuple[Tensor, int, int]:
        image, label = self.faces[index]
        if image.shape[:2] != (self.size, self.size):
            image = resize(image, self.size, self.interpolation)
        return torch.from_numpy(image), label, index


def _collate(items: list[tuple[Tensor, int, int]]) -> Batch:
    images, labels, keys = zip(*items, strict=True)
    return Batch(torch.stack(images).permute(0, 3, 1, 2), torch.tensor(labels), torch.tensor(keys))


def _start_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # Ctrl-C reaches the whole process group, and it is the training process that decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def make_loader(
    faces: FaceSet,
    order: Iterable[list[int]],
    *,
    size: int,
    interpolation: str,
    num_workers: int,
    pin_memory: bool,
) -> DataLoader[Batch]:
    """Decode the images of each step in worker processes.

    Images of another size than `size` px are resized to it. What a worker raises reaches the caller, with
    the record's file and key in its message.
    """
    return DataLoader(
        _Images(faces, size, interpolation),  # type: ignore[arg-type]
        batch_sampler=order,
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        multiprocessing_context=_clean_start() if num_workers else None,
    )


def _clean_start() -> BaseContext:
    """Workers forked from a process that has run nothing: OpenCV's and OpenMP's threads do not survive a fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by every worker
    return context
