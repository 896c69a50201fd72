"""One step of training: views, teacher, student, losses, backward, clip, step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.loader import Batch
from btnet.data.views import flip, flip_mask, normalise
from btnet.method.objective import Inputs
from btnet.training.distributed import Context
from btnet.training.learner import Learner
from btnet.training.optimizer import set_rate
from btnet.training.teacher import Teacher


@dataclass(frozen=True)
class Step:
    """Everything a step needs that does not change between steps.

    Attributes:
        context: device, precision and memory format.
        learners: who learns.
        teacher: see `btnet.training.teacher`; None where no objective asks for one.
        mirror: flip images with probability 1/2.
        seed: of the flips.
        clip: largest gradient norm of each network; 0 for no limit.
        jitter: moves the faces before anybody sees them; None for none.
    """

    context: Context
    learners: Sequence[Learner]
    teacher: Teacher | None
    mirror: bool
    seed: int
    clip: float
    jitter: AlignmentJitter | None = None

    def __call__(self, batch: Batch, epoch: int, rate: float) -> dict[str, Tensor]:
        """Learn from one batch.

        Args:
            batch: on any device.
            epoch: counted from 0; decides the flips and random sizes.
            rate: learning rate of this step.

        Returns:
            Named losses and gradient norms, scalars on the device: "r14/influence" and the like.
        """
        labels = batch.labels.to(self.context.device, non_blocking=True)
        images, mirrored = self.shown(batch, epoch)
        features: dict[str, Tensor] = {}
        embedding: Tensor | None = None
        if self.teacher is not None:
            features, embedding = self.teacher(images, batch.keys, mirrored)
        losses: dict[str, Tensor] = {}
        for learner in self.learners:
            view = self.enter(learner.view(images, batch.keys, epoch))
            named = self._losses(learner, view, labels, features, embedding)
            named["gradient_norm"] = self._update(learner, named["total"], rate)
            losses |= {f"{learner.name}/{name}": value.detach() for name, value in named.items()}
        return losses

    def shown(self, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """The images of a batch on the device, as teacher and learners see them; and which are mirrored, bool [B]."""
        images = batch.images.to(self.context.device, non_blocking=True)
        if self.jitter is not None:
            images = self.jitter(images, batch.keys, epoch)
        if not self.mirror:
            return images, torch.zeros_like(batch.keys, dtype=torch.bool)
        mask = flip_mask(batch.keys, seed=self.seed, epoch=epoch)
        return flip(images, mask), mask

    def enter(self, images: Tensor) -> Tensor:
        """A view, uint8 [B, 3, H, W], normalised and in the run's memory format."""
        return normalise(images).contiguous(memory_format=self.context.memory_format)

    def _losses(
        self,
        learner: Learner,
        view: Tensor,
        labels: Tensor,
        teacher_features: dict[str, Tensor],
        teacher_embedding: Tensor | None,
    ) -> dict[str, Tensor]:
        with self.context.autocast(), learner.draws():
            if learner.coupling is None:
                embedding, feature = learner.forward(view), None
            else:
                embedding, taps = learner.forward(view, taps=(learner.coupling,))
                feature = taps[learner.coupling]
            classifier = learner.classifier
            inputs = Inputs(
                influence=None if classifier is None else classifier(embedding, labels),
                student_feature=feature,
                teacher_feature=teacher_features.get(learner.coupling or ""),
                student_embedding=embedding,
                teacher_embedding=teacher_embedding,
            )
            return learner.objective(inputs)

    def _update(self, learner: Learner, loss: Tensor, rate: float) -> Tensor:
        set_rate(learner.optimizer, rate)
        learner.optimizer.zero_grad(set_to_none=True)
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        learner.scaler.unscale_(learner.optimizer)
        norm = clip_grad_norm_(learner.learnt.values(), self.clip or float("inf"))
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        return norm
