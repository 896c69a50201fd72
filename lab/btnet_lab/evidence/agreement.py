"""How close features and embeddings of small faces come to the trunk's of the full faces, over many faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise, resize
from btnet.serving.embedding import embed_images
from btnet_lab.analysis.maps import correlation, stage_ends

_BATCH = 25
Networks = Mapping[tuple[str, int], Backbone]
"""(model, resolution in px) -> the network that embeds faces of it."""


def cosines(
    trunk: Backbone, networks: Networks, faces: NDArray[np.uint8], interpolation: str
) -> list[dict[str, Any]]:
    """Cosine of small faces' embeddings with the trunk's of the full faces.

    Returns:
        "model", "resolution", "mean" and "std" (over faces) of the cosine, each.
    """
    full = torch.from_numpy(embed_images(trunk, faces, interpolation=interpolation, mirror=False))
    found = []
    for (model, r), network in networks.items():
        small = embed_images(network, faces, view_size=r, interpolation=interpolation, mirror=False)
        cosine = cosine_similarity(torch.from_numpy(small), full)
        found.append({"model": model, "resolution": r, **_mean_and_std(cosine.tolist())})
    return found


def agreement(
    trunk: Backbone, networks: Networks, faces: NDArray[np.uint8], interpolation: str
) -> list[dict[str, Any]]:
    """How similar small faces' feature maps are to the trunk's of the full faces, stage by stage.

    Args:
        trunk: at canonical size; its feature maps of the full faces are the reference.
        networks: to ask.
        faces: uint8 RGB [N, S, S, 3].
        interpolation: how they are shrunk.

    Returns:
        "model" and "resolution"; "stages": mean and std over faces of Pearson's correlation at the end of each stage
        and, last, of the embeddings' cosine; "coupling": mean and std of the squared error at the coupling layer as a
        share of the variance of the trunk's feature map (1: no better than its mean).
    """
    ends = stage_ends(trunk)
    layers = {r: trunk.coupling_layer(r) for _, r in networks}
    stages: dict[tuple[str, int], list[list[float]]] = {key: [] for key in networks}
    errors: dict[tuple[str, int], list[float]] = {key: [] for key in networks}
    for batch in _batches(faces):
        full, maps = _run(trunk, batch, trunk.input_size, interpolation, [*ends, *layers.values()])
        for (model, r), network in networks.items():
            embedding, seen = _run(network, batch, r, interpolation, [*ends, layers[r]])
            cosine = cosine_similarity(embedding, full).tolist()
            for i in range(len(batch)):
                alike = [correlation(seen[unit][i], maps[unit][i]) or 0.0 for unit in ends]
                stages[model, r].append([*alike, cosine[i]])
                errors[model, r].append(_relative_error(seen[layers[r]][i], maps[layers[r]][i]))
    return [
        {
            "model": model,
            "resolution": r,
            "stages": [_mean_and_std(column) for column in zip(*stages[model, r], strict=True)],
            "coupling": _mean_and_std(errors[model, r]),
        }
        for model, r in networks
    ]


def _batches(faces: NDArray[np.uint8]) -> Iterator[Tensor]:
    for start in range(0, len(faces), _BATCH):
        yield torch.from_numpy(np.ascontiguousarray(faces[start : start + _BATCH])).permute(0, 3, 1, 2)


def _run(
    network: Backbone, images: Tensor, resolution: int, interpolation: str, units: list[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Embeddings and feature maps of faces shown at a resolution, as `embed_images` shows them."""
    views = resize(resize(images, resolution, interpolation), network.input_size, interpolation)
    with torch.inference_mode():
        x = normalise(views).contiguous(memory_format=torch.channels_last)
        # The embedding's own unit is asked for too, so that the answer has one form.
        embedding, maps = network(x, taps=[*units, network.units()[-1].name])
    return embedding, maps


def _relative_error(map_of_view: Tensor, map_of_face: Tensor) -> float:
    error = (map_of_view - map_of_face).square().mean()
    return float(error / (map_of_face - map_of_face.mean()).square().mean())


def _mean_and_std(numbers: list[float] | tuple[float, ...]) -> dict[str, float]:
    return {"mean": float(np.mean(numbers)), "std": float(np.std(numbers))}
