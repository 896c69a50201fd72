"""The teacher: the frozen trunk, run as far as the learners' deepest coupling layer and no further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise
from btnet.training.distributed import Context
from btnet.training.learner import Learner

# {unit name: feature map}, and the embedding where it is asked for
Answer = tuple[dict[str, Tensor], Tensor | None]

# A map of 8 images, 64 channels and 112 px has 26 MB: a quarter of what 32 images need at a time, and below the
# 32 MiB from which glibc, left to itself, gives freed memory back and has every page faulted in again.
_CPU_IMAGES = 8


class Teacher(Protocol):
    """What the branches of a step imitate."""

    def __call__(self, images: Tensor, keys: Tensor, mirrored: Tensor) -> Answer:
        """{coupling layer: z_s [B, C, r, r]}, and the embedding [B, D] where objectives compare it; no gradient.

        Args:
            images: uint8 RGB [B, 3, S, S] on the device, mirrored already.
            keys: int64 [B], position of each image in the set.
            mirrored: bool [B], which images are mirrored.
        """


@dataclass(frozen=True)
class TrunkTeacher:
    """The trunk itself.

    Attributes:
        trunk: in eval mode.
        couplings: coupling layers that are asked for.
        embeds: whether it is run to its end.
        context: device, precision and memory format.
    """

    trunk: Backbone
    couplings: tuple[str, ...]
    embeds: bool
    context: Context

    @torch.no_grad()
    def __call__(self, images: Tensor, keys: Tensor, mirrored: Tensor) -> Answer:
        """See `Teacher`; which images these are does not matter here."""
        x = normalise(images).contiguous(memory_format=self.context.memory_format)
        with self.context.autocast():
            return in_parts(self._answer, x)

    def _answer(self, x: Tensor) -> Answer:
        if not self.embeds:
            return self.trunk.feature_maps(x, self.couplings), None
        if not self.couplings:
            return {}, self.trunk(x)
        embedding, features = self.trunk(x, taps=self.couplings)
        return features, embedding


def make_teacher(trunk: Backbone, learners: Sequence[Learner], context: Context) -> TrunkTeacher | None:
    """The teacher that the learners' objectives ask for; None where none does."""
    couplings = tuple(sorted({item.coupling for item in learners if item.coupling is not None}))
    embeds = any(learner.objective.needs("teacher_embedding") for learner in learners)
    if not (couplings or embeds):
        return None
    return TrunkTeacher(trunk, couplings, embeds, context)


def in_parts(network: Callable[[Tensor], Answer], images: Tensor) -> Answer:
    """What `network` answers to a batch; on a CPU joined from its answers to parts of it.

    Args:
        network: in eval mode and without gradient, so that each image stands for itself.
        images: normalised, [B, 3, S, S].
    """
    if images.device.type != "cpu" or len(images) <= _CPU_IMAGES:
        return network(images)
    starts = range(0, len(images), _CPU_IMAGES)
    answers = [network(images[start : start + _CPU_IMAGES]) for start in starts]
    features = {name: torch.cat([found[name] for found, _ in answers]) for name in answers[0][0]}
    embeddings = [embedding for _, embedding in answers if embedding is not None]
    return features, torch.cat(embeddings) if embeddings else None
