"""Faces of a set as arrays: a sample of them, or verification pairs, drawn or as a `.bin` has them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.data.aligned import CANONICAL_SIZE, need_aligned
from btnet.data.bin_sets import read_bin
from btnet.data.faces import FaceSet, open_faces
from btnet.images.resize import resize

__all__ = ["draw_pairs", "read_pairs", "sample_faces", "stack_faces"]


def read_pairs(
    spec: str, num_pairs: int, *, seed: int = 0, size: int = CANONICAL_SIZE
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The pairs of a `.bin`, or some drawn of any labelled set.

    Args:
        spec: a `.bin` file, or what `open_faces` takes.
        num_pairs: to draw; a `.bin` is taken whole.
        seed: of the draw.
        size: canonical size of the network that shall see them, in px.

    Returns:
        Images, uint8 RGB [2 P, H, W, 3], and whether a pair shows one person, bool [P].

    Raises:
        ValueError, FileNotFoundError: as `read_bin`, `open_faces`, `draw_pairs` and `stack_faces`.
    """
    if Path(spec).suffix == ".bin":
        return read_bin(spec, size=size)
    faces = open_faces(spec)
    positions, issame = draw_pairs(faces.labels, num_pairs, seed=seed)
    return stack_faces(faces, positions, size), issame


def stack_faces(
    faces: FaceSet, positions: NDArray[np.int64], size: int = CANONICAL_SIZE
) -> NDArray[np.uint8]:
    """Some images of a set, uint8 RGB [N, H, H, 3]; ValueError if they are not aligned, differ in size, or are none."""
    if not len(positions):
        raise ValueError("no face was asked for; expected at least one")
    first = faces[int(positions[0])][0]
    images = np.empty((len(positions), *first.shape), np.uint8)
    for row, position in enumerate(positions.tolist()):
        image = need_aligned(faces[position][0], faces.describe(position), size)
        if image.shape != first.shape:
            raise ValueError(
                f"{faces.describe(position)}: {image.shape[1]} x {image.shape[0]} px, others are "
                f"{first.shape[1]} x {first.shape[0]}; align the faces first"
            )
        images[row] = image
    return images


def draw_pairs(
    labels: NDArray[np.int64], num_pairs: int, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Draw as many pairs of one person as of two, in turns, so that every fold has both.

    Args:
        labels: identity of each image, [N].
        num_pairs: P, even; no pair is drawn twice.
        seed: of the draw.

    Returns:
        Positions of the images, int64 [2 P], pair i being 2 i and 2 i + 1; and whether it is the same person,
        bool [P]: true for every even i.

    Raises:
        ValueError: for an odd number, or more pairs than there are.
    """
    if num_pairs < 2 or num_pairs % 2:
        raise ValueError(f"{num_pairs} pairs: expected an even number, half of them of one person")
    order = np.argsort(labels, kind="stable")
    counts = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(counts) - counts
    per_person = counts * (counts - 1) // 2
    num_same = int(per_person.sum())
    num_different = len(labels) * (len(labels) - 1) // 2 - num_same
    half = num_pairs // 2
    # Pairs are drawn until they are new: with half of all still free, that takes two tries on average.
    if half > num_same // 2 or half > num_different // 2:
        raise ValueError(
            f"{num_pairs} pairs of {len(labels)} images of {len(counts)} people: there are {num_same} pairs of "
            f"one person and {num_different} of two, and at most half of each are drawn; ask for fewer pairs"
        )
    generator = np.random.default_rng(seed)
    same: dict[tuple[int, int], None] = {}
    while len(same) < half:
        person = int(generator.choice(len(counts), p=per_person / num_same))
        first, second = sorted(generator.choice(counts[person], 2, replace=False) + starts[person])
        same[int(order[first]), int(order[second])] = None
    different: dict[tuple[int, int], None] = {}
    while len(different) < half:
        first, second = sorted(generator.integers(len(labels), size=2))
        if labels[first] != labels[second]:
            different[int(first), int(second)] = None
    positions = np.array([[*one, *two] for one, two in zip(same, different, strict=True)], dtype=np.int64)
    return positions.reshape(-1), np.arange(num_pairs) % 2 == 0


def sample_faces(
    spec: str | os.PathLike[str],
    num_faces: int,
    *,
    size: int,
    canonical_size: int = CANONICAL_SIZE,
    interpolation: str = "bilinear",
) -> NDArray[np.uint8]:
    """Draw faces without replacement, always the same, for calibration.

    Args:
        spec: a `.bin` verification set, or what `open_faces` takes (`.rec`, folder, `synthetic:...`).
        num_faces: at most; fewer if the set has fewer.
        size: in px they are resized to.
        canonical_size: which they have, beside 112 px (`need_aligned`).
        interpolation: one of `btnet.data.INTERPOLATIONS`.

    Returns:
        uint8 RGB [N, size, size, 3].

    Raises:
        ValueError, FileNotFoundError: as `read_bin` and `open_faces`, for fewer than one face, or one not aligned.
    """
    if num_faces < 1:
        raise ValueError(f"{num_faces} faces: expected at least 1")
    generator = np.random.default_rng(0)
    if os.fspath(spec).endswith(".bin"):
        images = read_bin(spec, size=canonical_size)[0]
        chosen = [images[i] for i in generator.permutation(len(images))[:num_faces]]
    else:
        faces = open_faces(spec)
        drawn = generator.permutation(len(faces))[:num_faces]
        chosen = [need_aligned(faces[int(i)][0], faces.describe(int(i)), canonical_size) for i in drawn]
    return np.stack([resize(image, size, interpolation) for image in chosen])
