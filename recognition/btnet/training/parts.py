"""A batch through a frozen network a few images at a time: faster on a CPU, and in less memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# {unit name: feature map}, and the embedding where it is asked for
Answer = tuple[dict[str, Tensor], Tensor | None]

# A map of 8 images, 64 channels and 112 px has 25 MB. It stays in the caches and in the heap: above 32 MiB glibc
# gives memory back to the system as soon as it is free, and every page is faulted in again in the next layer.
_CPU_IMAGES = 8


def in_parts(network: Callable[[Tensor], Answer], images: Tensor) -> Answer:
    """What `network` answers to a batch; on a CPU joined from its answers to parts of it.

    Args:
        network: in eval mode and without gradient, so that each image stands for itself.
        images: as the network eats them, [B, 3, S, S].
    """
    if images.device.type != "cpu" or len(images) <= _CPU_IMAGES:
        return network(images)
    answers = [network(part) for part in images.split(_CPU_IMAGES)]
    features = {name: torch.cat([found[name] for found, _ in answers]) for name in answers[0][0]}
    embeddings = [embedding for _, embedding in answers if embedding is not None]
    return features, torch.cat(embeddings) if embeddings else None
