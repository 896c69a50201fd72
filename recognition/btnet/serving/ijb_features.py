"""Features of IJB's images: each aligned, seen at several resolutions, face and mirror apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.state import fingerprint
from btnet.images.resize import resize
from btnet.public_sets.ijb import IJB
from btnet.serving.alignment import align_face, wrong_order
from btnet.serving.feature_file import FeatureFile
from btnet.serving.feature_pass import FeatureTask, fill_features
from btnet.serving.model_folder import EvaluatedModel, no_answer

__all__ = ["ALIGNMENTS", "Seen", "embed_ijb"]

ALIGNMENTS: Final = ("canonical", "direct")
_ROWS_CHECKED: Final = 1000


class Seen(NamedTuple):
    """At which resolution a network saw the images, and whether mirrored."""

    resolution: int
    mirrored: bool


def embed_ijb(
    model: EvaluatedModel,
    ijb: IJB,
    views: Iterable[Seen],
    cache: Path,
    *,
    alignment: str,
    interpolation: str,
    batch_size: int = 32,
    num_workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> tuple[dict[Seen, FeatureFile], dict[int, str]]:
    """Embed all images in all views, one pass.

    Args:
        model: whose networks embed.
        ijb: images and landmarks.
        views: wanted.
        cache: folder for the features; what lies there already is not embedded again.
        alignment: "canonical": aligned at the canonical size, then shrunk, as branches are trained and the
            authors evaluate; "direct": aligned at the resolution itself, as serving does.
        interpolation: one of `btnet.data.INTERPOLATIONS`. The canonical crop is bilinear always, as
            insightface's is.
        batch_size: images per forward pass.
        num_workers: threads that read and align images.
        progress: called with the number of images done.

    Returns:
        Features by view, on disk; and position -> reason of the images that could not be read or aligned.

    Raises:
        ValueError: if the model has no network for a resolution, or most landmarks are in another order.
    """
    _check_order(ijb)
    size = model.canonical_size
    files, tasks = {}, []
    everything = np.arange(len(ijb.images))
    for seen in views:
        choice = model.choose(seen.resolution)
        if choice is None:
            raise ValueError(no_answer(model, seen.resolution))
        key = {
            "network": fingerprint(choice.network.state_dict()),
            "data": ijb.checksum,
            "views": {
                "aligned": alignment,
                "canonical_size": size,
                "resolution": seen.resolution,
                "mirrored": seen.mirrored,
                "interpolation": interpolation,
            },
        }
        files[seen] = FeatureFile.open(cache, key, len(ijb.images), model.embedding_size)
        tasks.append(FeatureTask(files[seen], choice.network, *seen, everything))

    def view(row: int, image: NDArray[np.uint8], resolution: int) -> NDArray[np.uint8]:
        if alignment == "direct" and resolution != size:
            return align_face(image, ijb.landmarks[row], resolution, interpolation, check_order=False)
        face = align_face(image, ijb.landmarks[row], size, check_order=False)
        return resize(face, resolution, interpolation)

    unreadable = fill_features(
        tasks,
        ijb.images,
        view,
        interpolation=interpolation,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    return files, unreadable


def _check_order(ijb: IJB) -> None:
    """The order is the list's: one detector's failures among half a million faces are aligned as they are."""
    rows = np.unique(np.linspace(0, len(ijb.landmarks) - 1, _ROWS_CHECKED).astype(np.int64))
    order, count = Counter(wrong_order(ijb.landmarks[row]) for row in rows).most_common(1)[0]
    if order and 2 * count > len(rows):
        raise ValueError(
            f"{ijb.meta / f'{ijb.prefix}_name_5pts_score.txt'}: landmarks look like {order} ({count} of {len(rows)} "
            "faces); expected x y of the left eye in the image, the right eye, nose tip, left and right corner of the "
            "mouth"
        )
