"""Fusion of two neighbouring branches: a face between two sizes is embedded by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_normalise

__all__ = ["fuse", "fusion_weights", "one_hot"]


def fusion_weights(sizes: NDArray[np.float64], resolutions: Sequence[int]) -> NDArray[np.float64]:
    """How much each network says about a face, by the distance of their sizes on a logarithmic scale.

    A face of 20 px between branches of 14 and 28 px: log(20 / 14) / log(28 / 14) = 0.51 of the larger one, the rest of
    the smaller. Below the smallest and above the largest resolution one network speaks alone, as on its own size.

    Args:
        sizes: of the faces in px, [N], above 0.
        resolutions: K of them in px, in any order.

    Returns:
        float64 [N, K] in the order of `resolutions`: rows of sum 1 with one or two entries that are not 0.

    Raises:
        ValueError: if a size is not above 0.
    """
    if len(sizes) and not np.min(sizes) > 0:
        raise ValueError(f"face of {np.min(sizes):g} px: expected sizes above 0")
    order = np.argsort(resolutions)
    places = np.interp(np.log(sizes), np.log(np.asarray(resolutions)[order]), np.arange(len(order)))
    # A hat over each network's place: 1 there, 0 at its neighbours.
    hats = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(len(order))))
    weights = np.empty(hats.shape, np.float64)
    weights[:, order] = hats
    return weights


def one_hot(chosen: NDArray[np.int64], resolutions: Sequence[int]) -> NDArray[np.float64]:
    """The weights of a selection: all on the chosen network, float64 [N, K]."""
    return np.asarray(chosen[:, None] == np.asarray(resolutions)[None], np.float64)


def fuse(
    embeddings: Mapping[int, NDArray[np.float32]], weights: NDArray[np.float64], resolutions: Sequence[int]
) -> NDArray[np.float32]:
    """Weighted mean of normalised embeddings.

    Args:
        embeddings: by resolution, [N, D] of the same faces; rows of weight 0 are not looked at.
        weights: [N, K], as `fusion_weights` gives them.
        resolutions: the K of its columns.

    Returns:
        float32 [N, D], of length up to 1: the cosine with a gallery needs no more.
    """
    first = next(iter(embeddings.values()))
    fused = np.zeros(first.shape, np.float32)
    for column, resolution in enumerate(resolutions):
        rows = np.flatnonzero(weights[:, column])
        if len(rows):
            share = weights[rows, column, None].astype(np.float32)
            fused[rows] += share * unit_normalise(embeddings[resolution][rows])
    return fused
