"""Fit the learnt selector on photographs of training people, whose optical size is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_normalise
from btnet.serving.embedding import Embed, embed_images
from btnet.serving.face_model import FaceModel
from btnet.serving.optical import NUM_FEATURES, OpticalSelector, blur_features
from btnet_lab.native_test.native_set import capture_faces
from btnet_lab.native_test.scene import Conditions

_RIDGE: Final = 0.1


def fit_selector(
    faces: NDArray[np.uint8],
    model: FaceModel | None = None,
    *,
    conditions: Conditions | None = None,
    seed: int = 0,
    interpolation: str = "bilinear",
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda _: None,
    embed: Embed = embed_images,
) -> OpticalSelector:
    """Learn to estimate the optical size, and up to which size each branch does best.

    Each face is photographed once. The weights are a ridge regression of log2 of the optical size. With a model, the
    cuts between its networks are those that bring the photographs closest (mean cosine) to the embedding of the face
    they were taken of, given the *predicted* sizes; else a resolution takes up to its own size.

    Args:
        faces: of people to train on, aligned, uint8 RGB [N, 112, 112, 3].
        model: whose networks are to be chosen among.
        conditions: of the photographs; default: the native test's.
        seed: of everything random.
        interpolation: of the model's views.
        batch_size: images per forward pass.
        progress: called with the number of faces photographed and embedded.
        embed: as in `FaceModel.embed`.

    Raises:
        ValueError: for fewer than four faces per weight, or as `photograph` and `FaceModel.embed`.
    """
    if len(faces) < 4 * NUM_FEATURES:
        raise ValueError(
            f"{len(faces)} faces: expected at least {4 * NUM_FEATURES} to fit {NUM_FEATURES} weights"
        )
    conditions = conditions or Conditions()
    taken = capture_faces(faces, conditions, seed=seed, progress=progress)
    crops = [face.crop for face in taken]
    weights = fit_weights(crops, np.array([face.optical_px for face in taken]))
    about = {"num_faces": len(faces), "seed": seed, "conditions": asdict(conditions)}
    selector = OpticalSelector(weights, about=about)
    if model is None:
        return selector

    def at(images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.float32]:
        found = model.embed(
            images, size, interpolation=interpolation, batch_size=batch_size, progress=progress, embed=embed
        )
        return unit_normalise(found)

    wanted = at(faces, faces.shape[1])
    resolutions = sorted(model.resolutions)
    cosines = np.empty((len(faces), len(resolutions)))
    for column, resolution in enumerate(resolutions):
        cosines[:, column] = np.einsum("nd,nd->n", at(crops, resolution), wanted)
    cuts = best_cuts(selector.optical_sizes(crops), cosines, resolutions)
    pixel_cuts = best_cuts(np.array([len(crop) for crop in crops], np.float64), cosines, resolutions)
    return OpticalSelector(weights, cuts, pixel_cuts, {**about, "model": model.name})


def fit_weights(crops: Sequence[NDArray[np.uint8]], optical_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ridge regression of log2 of the optical size on `blur_features`, float64 [NUM_FEATURES]."""
    features = np.stack([blur_features(crop) for crop in crops])
    penalty = _RIDGE * np.eye(NUM_FEATURES)
    penalty[0, 0] = 0  # the constant is free
    return np.asarray(np.linalg.solve(features.T @ features + penalty, features.T @ np.log2(optical_px)))


def best_cuts(
    sizes: NDArray[np.float64], worth: NDArray[np.float64], resolutions: Sequence[int]
) -> dict[int, float]:
    """The thresholds on a size that do best for a sum over faces, exactly (dynamic programming).

    Faces in order of size are split into K runs, one for each resolution in order; a run may be empty.

    Args:
        sizes: [N].
        worth: of each resolution for each face, [N, K].
        resolutions: K in px, ascending.

    Returns:
        Resolution -> largest size that is taken to it; the last has none.
    """
    order = np.argsort(sizes, kind="stable")
    ordered = sizes[order]
    sums = np.vstack([np.zeros(len(resolutions)), np.cumsum(worth[order], axis=0)])  # [N + 1, K]
    best, starts = sums[:, 0], []
    for column in range(1, len(resolutions)):
        # Run `column` starts behind face j: what the runs before gain on the first j faces, less its own sum there.
        ahead = best - sums[:, column]
        leading = np.maximum.accumulate(ahead)
        first = np.where(ahead == leading, np.arange(len(ahead)), 0)
        starts.append(np.maximum.accumulate(first))
        best = leading + sums[:, column]
    cuts, end = {}, len(ordered)
    for column in range(len(resolutions) - 1, 0, -1):
        end = int(starts[column - 1][end])
        # Halfway between the neighbours, so that a face of neither's size is not torn.
        below = ordered[end - 1] if end else 0.0
        above = ordered[end] if end < len(ordered) else below
        cuts[resolutions[column - 1]] = float((below + above) / 2 if end else 0.0)
    return dict(sorted(cuts.items()))
