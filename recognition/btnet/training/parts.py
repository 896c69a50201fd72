"""A batch through a frozen network a few images at a time: faster on a CPU, and in less memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# {unit name: feature map}, and the embedding where it is asked for
Answer = tuple[dict[str, Tensor], Tensor | None]

# A map of 8 images, 64 channels and 112 px has 26 MB: a quarter of what 32 images need at a time, and below the
# 32 MiB from which glibc, left to itself, gives freed memory back and has every page faulted in again.
_CPU_IMAGES = 8


def in_parts(network: Callable[[Tensor], Answer], images: Tensor) -> Answer:
    """What `network` answers to a batch; on a CPU joined from its answers to parts of it.

    Args:
        network: in eval mode and without gradient, so that each image stands for itself.
        images: as the network eats them, [B, 3, S, S].
    """
    if images.device.type != "cpu" or len(images) <= _CPU_IMAGES:
        return network(images)
    starts = range(0, len(images), _CPU_IMAGES)
    answers = [network(images[start : start + _CPU_IMAGES]) for start in starts]
    features = {name: torch.cat([found[name] for found, _ in answers]) for name in answers[0][0]}
    embeddings = [embedding for _, embedding in answers if embedding is not None]
    return features, torch.cat(embeddings) if embeddings else None
