"""The teacher cache: the frozen trunk's answers, computed once per image and read from then on.

The trunk does not change and the only augmentation it sees is the flip, so that its feature map is one of two
constants per image.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btnet.console import show, tracked
from btnet.data.faces import FaceSet
from btnet.data.loader import Batches
from btnet.data.views import flip
from btnet.training.distributed import Context
from btnet.training.teacher import Answer, TrunkTeacher
from btnet.training.teacher_cache_file import BLOCK, CacheContents, CacheFiles

__all__ = ["CachedTeacher", "cached"]

_EMBEDDING = "embedding"
# Of the length of an image's features: rounding to float16 and another batch size stay far below, another
# image or a view that was changed does not.
_TOLERANCE = 0.05


class CachedTeacher:
    """A teacher that reads; see `Teacher`. Its first batch is compared with the trunk's own answer.

    That refuses an augmentation of the teacher's view beyond the flip, and images that were replaced without
    their names changing.
    """

    def __init__(self, files: CacheFiles, teacher: TrunkTeacher, faces: FaceSet) -> None:
        self._folder, self._teacher, self._faces = files.folder, teacher, faces
        names = [*teacher.couplings, *([_EMBEDDING] if teacher.embeds else [])]
        self._mapped = {name: files.rows(name) for name in names}
        self._compared = False

    def __call__(self, images: Tensor, keys: Tensor, mirrored: Tensor) -> Answer:
        """Read the rows of a batch.

        Raises:
            ValueError: if the first batch's are not what the trunk answers.
        """
        numbers, context = (2 * keys + mirrored).cpu().numpy(), self._teacher.context
        found = {
            name: torch.from_numpy(rows[numbers]).to(context.device, non_blocking=True)
            for name, rows in self._mapped.items()
        }
        if not self._compared:
            self._compare(found, _rows(self._teacher, images, keys, mirrored), keys)
            self._compared = True
        embedding = found.pop(_EMBEDDING, None)
        if context.memory_format == torch.channels_last:
            found = {name: value.permute(0, 3, 1, 2) for name, value in found.items()}
        return found, embedding

    def _compare(self, found: dict[str, Tensor], expected: dict[str, Tensor], keys: Tensor) -> None:
        for name, values in found.items():
            true = expected[name].flatten(1).float()
            error = (values.flatten(1).float() - true).norm(dim=1) / true.norm(dim=1).clamp(min=1e-12)
            worst = int(error.argmax())
            if not float(error[worst]) <= _TOLERANCE:
                raise ValueError(
                    f"{self._folder}: {name} of {self._faces.describe(int(keys[worst]))} differs from the trunk's by "
                    f"{100 * float(error[worst]):.0f} %: either the teacher's view is augmented by more than the flip, "
                    "which a cache cannot hold: leave teacher_cache empty; or images were replaced under their old "
                    "names: remove the folder"
                )


def cached(
    teacher: TrunkTeacher,
    folder: Path,
    faces: FaceSet,
    *,
    trunk_fingerprint: str,
    interpolation: str,
    num_workers: int,
) -> CachedTeacher:
    """The cache of a teacher; what is missing of it is made first, by all ranks. All ranks call this together.

    Args:
        teacher: the trunk.
        folder: of the cache, on a file system that all ranks see.
        faces: the training set.
        trunk_fingerprint: of the trunk.
        interpolation: for images of another size than the trunk's.
        num_workers: loader processes per rank while it is made.

    Raises:
        ValueError: if the cache is stale or damaged, or a feature does not fit into float16.
        OSError: if the disk has not the room.
    """
    context, size = teacher.context, teacher.trunk.input_size
    # The shapes of the rows are those of the answer to a black image.
    black = torch.zeros(1, 3, size, size, dtype=torch.uint8, device=context.device)
    key = torch.zeros(1, dtype=torch.int64)
    rows = _rows(teacher, black, key, key.bool())
    contents = CacheContents(
        trunk_fingerprint=trunk_fingerprint,
        data_fingerprint=faces.fingerprint(),
        num_images=len(faces),
        canonical_size=size,
        precision=str(context.precision).removeprefix("torch."),
        layout="channels_last" if context.memory_format == torch.channels_last else "contiguous",
        interpolation=interpolation,
        shapes={name: tuple(value.shape[1:]) for name, value in rows.items()},
    )
    if context.is_main:
        CacheFiles.create(folder, contents)
    context.barrier()
    files = CacheFiles(folder, contents)
    missing = np.flatnonzero(files.done() == 0).tolist()
    if missing:
        _check_room(files, missing, context)
        context.barrier()  # nobody writes before all have seen what is missing
        _build(files, missing[context.rank :: context.world_size], teacher, faces, num_workers)
    context.barrier()
    return CachedTeacher(files, teacher, faces)


def _build(
    files: CacheFiles, blocks: Sequence[int], teacher: TrunkTeacher, faces: FaceSet, num_workers: int
) -> None:
    context, contents = teacher.context, files.contents
    loader = Batches(
        faces,
        [list(contents.block(block)) for block in blocks],
        batch_size=BLOCK,
        size=contents.canonical_size,
        interpolation=contents.interpolation,
        num_workers=num_workers,
        pin_memory=context.device.type == "cuda",
    )
    shown = tracked(loader, "teacher cache", len(loader), quiet=not context.is_main)
    for block, batch in zip(blocks, shown, strict=True):
        images = batch.images.to(context.device, non_blocking=True)
        views = []
        for value in (False, True):
            mirrored = torch.full_like(batch.keys, value, dtype=torch.bool)
            views.append(_rows(teacher, flip(images, mirrored), batch.keys, mirrored))
        files.write(block, {name: _halves(name, views, batch.keys, faces) for name in contents.shapes})


def _halves(
    name: str, views: Sequence[dict[str, Tensor]], keys: Tensor, faces: FaceSet
) -> NDArray[np.float16]:
    """Both views as rows [B, 2, *shape] in float16, which must be able to hold them."""
    values = torch.stack([view[name] for view in views], dim=1)
    halves = values.half().contiguous().cpu()
    bad = (~halves.isfinite()).flatten(1).any(dim=1).nonzero().flatten()
    if len(bad) > 0:
        largest = float(values[bad[0]].abs().max())
        raise ValueError(
            f"{faces.describe(int(keys[bad[0]]))}: the trunk's {name} reaches {largest:.4g}, and float16 ends at "
            "65504; this trunk's features cannot be cached: leave teacher_cache empty"
        )
    array: NDArray[np.float16] = halves.numpy()
    return array


def _check_room(files: CacheFiles, missing: Sequence[int], context: Context) -> None:
    """Tell what the cache will take, and refuse where the disk has not that much."""
    contents = files.contents
    needed = contents.bytes_per_image(*contents.shapes) * sum(len(contents.block(block)) for block in missing)
    free = shutil.disk_usage(files.folder).free
    text = f"{needed / 1e9:.3g} GB are needed, {free / 1e9:.3g} GB are free"
    if needed > free:
        raise OSError(
            f"{files.folder}: no room for the teacher cache of {contents.num_images} images: {text}; "
            "name a folder on another disk, or leave teacher_cache empty"
        )
    if context.is_main:
        show(f"teacher cache {files.folder}: {text}", error=True)


def _rows(teacher: TrunkTeacher, images: Tensor, keys: Tensor, mirrored: Tensor) -> dict[str, Tensor]:
    """The trunk's answers by name, as a row holds them: feature maps in the order of memory."""
    features, embedding = teacher(images, keys, mirrored)
    if teacher.context.memory_format == torch.channels_last:
        features = {name: value.permute(0, 2, 3, 1) for name, value in features.items()}
    return features if embedding is None else {**features, _EMBEDDING: embedding}
