"""Which share of faces a detector finds, by their size: faces pasted into frames of noise."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.data.found_images import walk_images
from btnet.detection.align_folder import find_faces
from btnet.detection.detections import Detector
from btnet.images.codec import decode_image
from btnet.serving.alignment import TEMPLATE, face_size

__all__ = [
    "SIZES",
    "Portrait",
    "Recall",
    "load_portraits",
    "measure_recall",
    "rendered_portraits",
    "smallest_found",
]

SIZES: Final = (10, 12, 14, 17, 20, 24, 28, 34, 40)
_WIDTH, _HEIGHT, _CELL = 640, 480, 160  # px; one face in each cell of a frame
_AROUND: Final = 1.6  # how much of a portrait is kept on each side of the face's middle, in face sizes
_NEAR: Final = 0.25  # of the face's size: a face counts as found if the landmarks' mean is that close


class Portrait(NamedTuple):
    """One face and what is around it: image uint8 RGB [H, W, 3], its landmarks [5, 2]."""

    image: NDArray[np.uint8]
    points: NDArray[np.float32]


class Recall(NamedTuple):
    """Of faces of one size.

    Attributes:
        size: px, as `face_size`.
        recall: share of the faces that were found.
        false: detections a frame that are no face.
        milliseconds: a frame.
    """

    size: int
    recall: float
    false: float
    milliseconds: float


def load_portraits(folder: Path, detector: Detector, most: int = 120) -> list[Portrait]:
    """The first faces of a folder that the detector finds at their own size, and what is around them.

    Raises:
        ValueError: if it finds none.
    """
    portraits = []
    for name in walk_images(folder).need_some().names[:most]:
        image = decode_image((folder / name).read_bytes(), name)
        if len(points := find_faces(detector, image).points):
            portraits.append(_cut(image, max(points, key=face_size)))
    if not portraits:
        raise ValueError(f"{folder}: the detector finds no face in these images, even at their own size")
    return portraits


def rendered_portraits(count: int = 120) -> list[Portrait]:
    """Rendered faces, cut close to the face."""
    from btnet.synthetic.render import render_face

    return [Portrait(render_face(0, number, 0), TEMPLATE) for number in range(count)]


def measure_recall(
    portraits: Sequence[Portrait], detector: Detector, sizes: Iterable[int] = SIZES
) -> list[Recall]:
    """Recall by size, in frames of 640 x 480 px with up to 12 faces each."""
    rows = []
    for size in sizes:
        draws = np.random.default_rng(size)
        num_found = num_false = num_frames = 0
        seconds = 0.0
        per_frame = (_WIDTH // _CELL) * (_HEIGHT // _CELL)
        for first in range(0, len(portraits), per_frame):
            frame, middles = _scene(portraits[first : first + per_frame], size, draws)
            start = time.perf_counter()
            found = detector.detect(frame).points.mean(axis=1)
            seconds += time.perf_counter() - start
            near = np.linalg.norm(found[:, None] - middles, axis=2) < _NEAR * size
            num_found += int(near.any(axis=0).sum())
            num_false += int((~near.any(axis=1)).sum())
            num_frames += 1
        recall = num_found / len(portraits)
        rows.append(Recall(size, recall, num_false / num_frames, seconds / num_frames * 1000))
    return rows


def smallest_found(rows: Sequence[Recall]) -> int | None:
    """The size from which on at least half of the faces are found; None if there is none."""
    smallest = None
    for row in sorted(rows, reverse=True):
        if row.recall < 0.5:
            break
        smallest = row.size
    return smallest


def _cut(image: NDArray[np.uint8], points: NDArray[np.float32]) -> Portrait:
    (x, y), reach = points.mean(axis=0), _AROUND * face_size(points)
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    return Portrait(
        image[top : max(0, int(y + reach)), left : max(0, int(x + reach))],
        points - np.array([left, top], np.float32),
    )


def _scene(
    portraits: Sequence[Portrait], size: int, draws: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A frame of soft coloured noise with a face of `size` px in each cell, and the middles of their landmarks."""
    coarse = draws.uniform(40, 215, (9, 12, 3)).astype(np.float32)
    scene = cv2.resize(coarse, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    frame = (scene + draws.normal(0, 6, scene.shape)).clip(0, 255).astype(np.uint8)
    middles = []
    for number, (image, points) in enumerate(portraits):
        factor = size / face_size(points)
        height, width = (max(1, round(side * factor)) for side in image.shape[:2])
        face = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        row, column = divmod(number, _WIDTH // _CELL)
        top = row * _CELL + int(draws.integers(_CELL - height))
        left = column * _CELL + int(draws.integers(_CELL - width))
        frame[top : top + height, left : left + width] = face
        scale = (width / image.shape[1], height / image.shape[0])
        middles.append((points.mean(axis=0) + 0.5) * scale - 0.5 + (left, top))
    return frame, np.array(middles, np.float32)
