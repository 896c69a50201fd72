"""Faces as people have them: with or without identities, aligned or photographs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.console import show, tracked
from btnet.data.aligned import need_aligned
from btnet.data.faces import CorruptImageError, FaceSet, FolderFaces, open_faces
from btnet.data.folder_faces import UnlabelledFaces
from btnet.data.found_images import FoundImages, walk_images
from btnet.evaluation.cosine import unit_normalise
from btnet.images.codec import decode_image
from btnet.serving.embedding import embed_images

__all__ = ["embed_faces", "open_any_faces", "read_faces"]

_LOOKED_AT: Final = 40  # images, to see whether a folder's are aligned
_AT_A_TIME: Final = 256

_logger = logging.getLogger(__name__)


def open_any_faces(
    named: str, aligned: Path, *, detector: str | None = None, unlabelled: bool = False
) -> FaceSet:
    """Open aligned faces; photographs are detected and aligned first.

    Args:
        named: a `.rec` or what else `open_faces` takes, identity folders, or a folder of images.
        aligned: folder for the aligned faces; what lies there already is taken.
        detector: see `btnet.detection.open_detector`.
        unlabelled: do not take folders for people.

    Returns:
        Faces of 112 px, of one class where nobody says whose they are.

    Raises:
        FileNotFoundError: if there is nothing.
        ValueError: for what holds no faces.
    """
    path = Path(named)
    if not path.is_dir():
        return open_faces(named)
    found = walk_images(aligned if aligned.is_dir() else path).need_some()
    if not aligned.is_dir() and not _are_aligned(found):
        found = _align(path, aligned, detector)
    for line in found.report():
        show(f"btnet: {line}", error=True)
    by_folder = len(found.folders) > 1 and all(name.count("/") == 1 for name in found.names)
    return FolderFaces(found.root) if by_folder and not unlabelled else UnlabelledFaces(found)


def read_faces(faces: FaceSet, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images that decode, uint8 RGB [M, 112, 112, 3], and their rows.

    Raises:
        ValueError: for an image of another size.
    """
    images, kept = [], []
    for row in rows.tolist():
        try:
            images.append(need_aligned(faces[row][0], faces.describe(row)))
        except CorruptImageError as error:
            _logger.warning("%s; left out", error)
            continue
        kept.append(row)
    return np.array(images, np.uint8).reshape(-1, 112, 112, 3), np.array(kept, np.int64)


def embed_faces(
    trunk: Backbone, faces: FaceSet, rows: NDArray[np.int64], doing: str
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Unit embeddings of the trunk, a part of the rows at a time; and which of these decode."""
    parts = np.array_split(rows, -(-len(rows) // _AT_A_TIME))
    batch = 8 if next(trunk.parameters()).device.type == "cpu" else _AT_A_TIME
    for part in tracked(parts, doing, len(parts)):
        images, kept = read_faces(faces, part)
        found = embed_images(trunk, images, batch_size=batch, mirror=False)
        yield unit_normalise(found), kept


def _are_aligned(found: FoundImages) -> bool:
    """Whether the images of a folder have 112 x 112 px, as far as a few of them tell."""
    sizes = set()
    for i in np.linspace(0, len(found.names) - 1, min(_LOOKED_AT, len(found.names))).astype(int):
        try:
            sizes.add(decode_image((found.root / found.names[i]).read_bytes(), found.names[i]).shape[:2])
        except CorruptImageError:
            continue
    return sizes <= {(112, 112)}


def _align(folder: Path, aligned: Path, detector: str | None) -> FoundImages:
    # Only here: aligned faces need neither a detector nor its runtime.
    from btnet.detection import open_detector
    from btnet.detection.align_folder import align_folder, beside

    source = open_detector(detector)
    show(f"{folder}: not of 112 x 112 px; finding faces with {source.name}")
    done = align_folder(folder, aligned, source)
    show(
        f"{len(done.faces)} faces aligned, {len(done.left_out)} images left out: {beside(aligned, 'left_out.tsv')}"
    )
    return walk_images(aligned)
