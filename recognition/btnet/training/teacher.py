"""The teacher: the frozen trunk, run as far as the learners' deepest coupling layer and no further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise
from btnet.training.distributed import Context
from btnet.training.learner import Learner
from btnet.training.parts import Answer, in_parts


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
    objectives = [learner.objective for learner in learners]
    embeds = any(o.compares_embeddings for o in objectives)
    if not (couplings or embeds):
        return None
    return TrunkTeacher(trunk, couplings, embeds, context)
