"""Embeddings of a set of native faces under any selection strategy, from one feature pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.images.resize import resize
from btnet.serving.face_model import FaceModel
from btnet.serving.feature_file import FeatureFile
from btnet.serving.feature_pass import FeatureTask, Images, fill_features
from btnet.serving.selection import Strategy, selected_resolutions

__all__ = ["NativeFeatures", "embed_native_set"]


@dataclass(frozen=True, eq=False)
class NativeFeatures:
    """Embeddings on disk, by resolution.

    Attributes:
        chosen: strategy -> resolution of every image, int64 [N]; 0 where an image was not embedded.
        files: resolution -> its embeddings, and those of the mirror images where they count.
        size: D.
    """

    chosen: dict[Strategy, NDArray[np.int64]]
    files: dict[int, tuple[FeatureFile, ...]]
    size: int

    def of(self, strategy: Strategy) -> NDArray[np.float32]:
        """Embeddings under a strategy, float32 [N, D], not normalised; zero where there is none."""
        chosen = self.chosen[strategy]
        features = np.zeros((len(chosen), self.size), dtype=np.float32)
        for resolution, files in self.files.items():
            rows = np.flatnonzero(chosen == resolution)
            for file in files:
                features[rows] += file.features[rows]
        return features


def embed_native_set(
    model: FaceModel,
    images: Images,
    sizes: NDArray[np.int64],
    strategies: Sequence[Strategy],
    cache: Path,
    *,
    checksum: str,
    interpolation: str,
    mirror: bool,
    batch_size: int = 32,
    num_workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> NativeFeatures:
    """Embed each face once for every resolution that some strategy selects for it.

    Args:
        model: whose networks embed.
        images: all faces of the set, native sizes.
        sizes: their width and height, [N, 2]; zero: leave this one out.
        strategies: indicators and rules.
        cache: folder for the features; what lies there already is not embedded again.
        checksum: of the data set.
        interpolation: one of `btnet.data.INTERPOLATIONS`.
        mirror: add the embeddings of the mirror images.
        batch_size: images per forward pass.
        num_workers: threads that read images.
        progress: called with the number of images done.

    Raises:
        ValueError: if an image has become unreadable, or an embedding is not finite.
    """
    there = np.flatnonzero(sizes.min(axis=1) > 0)
    chosen = {}
    for strategy in strategies:
        chosen[strategy] = np.zeros(len(sizes), dtype=np.int64)
        chosen[strategy][there] = selected_resolutions(sizes[there], model.resolutions, strategy)
    files, tasks = {}, []
    for resolution in model.resolutions:
        rows = np.flatnonzero(np.any([each == resolution for each in chosen.values()], axis=0))
        if not len(rows):
            continue
        made = []
        for mirrored in (False, True)[: 1 + mirror]:
            key = {
                "network": model.fingerprint(resolution),
                "data": checksum,
                "views": {"native": resolution, "mirrored": mirrored, "interpolation": interpolation},
            }
            made.append(FeatureFile.open(cache, key, len(sizes), model.embedding_size))
            tasks.append(FeatureTask(made[-1], model.networks[resolution], resolution, mirrored, rows))
        files[resolution] = tuple(made)
    unreadable = fill_features(
        tasks,
        images,
        lambda _, image, resolution: resize(image, resolution, interpolation),
        interpolation=interpolation,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    if unreadable:
        raise ValueError(f"the data set changed while it was read: {next(iter(unreadable.values()))}")
    return NativeFeatures(chosen, files, model.embedding_size)
