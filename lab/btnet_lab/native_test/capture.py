"""From aligned faces to native ones: photographed from afar, detected, aligned at their own size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.serving.alignment import TEMPLATE, align_face, face_size
from btnet.serving.crops import MIN_SIDE
from btnet.synthetic.draws import Draws
from btnet_lab.native_test.native_set import NativeSet
from btnet_lab.native_test.scene import Conditions, photograph

_PURPOSE: Final = 3  # of the draws; the renderer has 1 and 2


class NativeFace(NamedTuple):
    """A small face as a recogniser gets it.

    Attributes:
        crop: aligned by the landmarks that were found, uint8 RGB [s, s, 3].
        box: width and height in px of the detector's box.
        pixel_px: of the sensor that the face's 112 px spanned.
        optical_px: of detail that the lens left of them.
    """

    crop: NDArray[np.uint8]
    box: tuple[int, int]
    pixel_px: float
    optical_px: float


def capture_faces(
    faces: Iterable[NDArray[np.uint8]],
    conditions: Conditions,
    *,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[NativeFace]:
    """Photograph aligned faces; see `btnet_lab.native_test.scene.photograph`.

    A crop's side is the face's size by the landmarks that were found (`face_size`), as in `Recognizer.align`: like
    its box it differs a little from the true one. A face's photograph depends on its number and on no other face.

    Args:
        faces: uint8 RGB [112, 112, 3] each, numbered as they come.
        conditions: to draw from.
        seed: of everything random.
        progress: called with 1 for each face done.

    Raises:
        ValueError: as `photograph`.
    """
    captured = []
    for number, face in enumerate(faces):
        taken = photograph(face, TEMPLATE, conditions, Draws(seed, _PURPOSE, number))
        side = max(round(face_size(taken.landmarks)), MIN_SIDE)
        crop = align_face(taken.frame, taken.landmarks, side)
        captured.append(NativeFace(crop, taken.box, taken.pixel_px, taken.optical_px))
        progress(1)
    return captured


def capture_pairs(
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    conditions: Conditions,
    *,
    seed: int,
    source: str = "",
    progress: Callable[[int], None] = lambda _: None,
) -> NativeSet:
    """A native verification set: of each pair the first image stays the gallery, the second is photographed.

    Args:
        images: aligned, uint8 RGB [2 P, 112, 112, 3]; pair i is images 2 i and 2 i + 1, as `read_bin` gives them.
        issame: whether a pair shows one person, [P].
        conditions: of the photographs.
        seed: of everything random.
        source: name of what the images came from, for the record.
        progress: called with the number of faces done.

    Raises:
        ValueError: as `photograph`, or if there are not two images per pair.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
    taken = capture_faces(images[1::2], conditions, seed=seed, progress=progress)
    return NativeSet(
        gallery=images[::2],
        probes=[face.crop for face in taken],
        issame=np.asarray(issame, np.bool_),
        boxes=np.array([face.box for face in taken], np.int64).reshape(-1, 2),
        pixel_px=np.array([face.pixel_px for face in taken]),
        optical_px=np.array([face.optical_px for face in taken]),
        about={"seed": seed, "conditions": asdict(conditions), "source": source},
    )
