"""Batches of a training run: one global order per (seed, epoch), of which each rank takes its slice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
from types import FrameType
from typing import Protocol

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from btnet.data.faces import FaceSet, face_for
from btnet.images.resize import resize

_BATCHES_AHEAD = 2  # per worker
_Decoded = tuple[int, list[int], list[int]]  # slot, indices, labels


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


class Order(Protocol):
    """The indices of each batch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...


class Batches(Iterable[Batch]):
    """The batches of a run, decoded in worker processes; iterating starts the workers.

    Workers decode into a ring of batches in shared memory that is laid out once per iteration: fresh shared memory for
    every batch would be zeroed and faulted in page by page, which takes as long as decoding half of it. Only labels
    are sent back. A batch is copied out of the ring before the next one is asked for, so it may be kept. The ring has
    one slot more than there are batches under way, and batches come in order: no worker writes where the caller reads.

    Args:
        faces: the set.
        order: the indices of each batch.
        batch_size: of the largest batch.
        size: px of the batches. Aligned faces of another size, and `NativeCrops`, are resized to it.
        interpolation: for that.
        num_workers: processes; 0 decodes in this one.
        pin_memory: put batches where a GPU can fetch them while it computes.
    """

    def __init__(
        self,
        faces: FaceSet,
        order: Order,
        *,
        batch_size: int,
        size: int,
        interpolation: str,
        num_workers: int,
        pin_memory: bool,
    ):
        self.faces, self.order, self.batch_size = faces, order, batch_size
        self.size, self.interpolation = size, interpolation
        self.num_workers, self.pin_memory = num_workers, pin_memory

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Decode from the start of the order.

        Raises:
            Exception: what a worker raises, with the record's file and key in its message; ValueError for a face that
                is not aligned.
            ChildProcessError: if a worker was killed.
        """
        num_slots = self.num_workers * _BATCHES_AHEAD + 1
        ring = torch.empty(num_slots, self.batch_size, self.size, self.size, 3, dtype=torch.uint8)
        if self.num_workers:
            ring.share_memory_()  # type: ignore[no-untyped-call]
        loader: DataLoader[_Decoded] = DataLoader(
            _Ring(ring, self.faces, self.interpolation),
            sampler=_Numbered(self.order, num_slots),
            batch_size=None,
            collate_fn=_unchanged,  # type: ignore[arg-type]
            num_workers=self.num_workers,
            prefetch_factor=_BATCHES_AHEAD if self.num_workers else None,
            worker_init_fn=_start_worker,
            multiprocessing_context=_clean_start() if self.num_workers else None,
        )
        for slot, indices, labels in _watched(loader):
            images = ring[slot, : len(indices)]
            copy = torch.empty(images.shape, dtype=torch.uint8, pin_memory=self.pin_memory).copy_(images)
            yield Batch(copy.permute(0, 3, 1, 2), torch.tensor(labels), torch.tensor(indices))


class _Numbered(Sampler[tuple[int, list[int]]]):
    """(slot, indices) of each batch."""

    def __init__(self, order: Order, num_slots: int):
        self.order, self.num_slots = order, num_slots

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[int, list[int]]]:
        for number, indices in enumerate(self.order):
            yield number % self.num_slots, indices


class _Ring(Dataset[_Decoded]):
    """Item (slot, indices): decodes the images into that slot, and gives their labels."""

    def __init__(self, ring: Tensor, faces: FaceSet, interpolation: str):
        self.ring, self.faces, self.interpolation = ring, faces, interpolation

    def __getitem__(self, item: tuple[int, list[int]]) -> _Decoded:
        slot, indices = item
        rows = self.ring[slot].numpy()
        size = len(rows[0])
        labels = []
        for row, index in zip(rows, indices, strict=False):  # the last batch may be smaller
            image, label = face_for(self.faces, index, size)
            row[:] = image if len(image) == size == len(image[0]) else resize(image, size, self.interpolation)
            labels.append(label)
        return slot, indices, labels


def _watched(loader: Iterable[_Decoded]) -> Iterator[_Decoded]:
    try:
        yield from loader
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error) and "killed by signal" not in str(error):
            raise
        raise ChildProcessError(
            "a loader process was killed, by the system if memory or /dev/shm ran out; lower num_workers or "
            "batch_size, and go on with resume=True"
        ) from error


def _unchanged(decoded: _Decoded) -> _Decoded:
    return decoded


def _start_worker(_worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # Ctrl-C reaches the whole process group, and it is the training process that decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _Patience())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    threading.Thread(target=_end_with_the_training_process, daemon=True).start()


class _Patience:
    """A scheduler's SIGTERM reaches every process, as Ctrl-C does; torch sends one to a worker that hangs."""

    received = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.received:
            os._exit(128 + signal.SIGTERM)
        self.received = True


def _end_with_the_training_process() -> None:
    # torch watches the worker's parent, which is the fork server; and that stays as long as a worker does.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _clean_start() -> BaseContext:
    """Workers forked from a process that has run nothing: OpenCV's and OpenMP's threads do not survive a fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # torch is imported once, not by every worker
    # Started with SIGTERM blocked, which it and its children inherit: if it died of a scheduler's, its workers
    # would count as dead. The resource tracker comes first, because starting it clears the mask.
    resource_tracker.ensure_running()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context
