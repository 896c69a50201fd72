"""The objective: equations 1 to 3 of the paper on one screen, as named losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from btnet.loss.distillation import (
    branch_distillation,
    embedding_cosine,
    embedding_mse,
    feature_attention,
    feature_cosine,
)
from btnet.loss.relations import embedding_contrast, embedding_octuplet, embedding_relation

__all__ = ["Objective"]


@dataclass(frozen=True)
class Objective:
    """L = L_influence + 0.5 L_branch (BTNet eq. 3); a term of weight 0 is neither needed nor computed.

    Attributes:
        influence_weight: of the classification loss against the old classifier (eq. 1).
        distillation_weight: of the coupling layer's MSE (eq. 2), lambda in the paper.
        embedding_mse_weight: of the embeddings' MSE: not in the paper, 0.5 in the authors' code.
        embedding_cosine_weight: of 1 - cosine of the embeddings: in neither.
        feature_cosine_weight: of 1 - cosine of the feature maps: in neither (F-SKD, arXiv 2303.04681).
        embedding_relation_weight: of the mean squared difference of the batch's cosines: in neither (after CRRCD,
            arXiv 2409.02555, which contrasts such relations).
        embedding_contrast_weight: of the contrast of relations: in neither (CRRCD).
        embedding_octuplet_weight: of triplets over resolutions: in neither (arXiv 2207.06726).
        feature_attention_weight: of 1 - cosine of the feature maps' attention: in neither (A-SKD, arXiv 2209.14498).
        soft_influence_weight: of the divergence from the trunk's soft labels over the old classes: in neither.
        distillation_weight_end: `distillation_weight` moves to it in a straight line over the run; None: it stays.
    """

    influence_weight: float = 1.0
    distillation_weight: float = 0.5
    embedding_mse_weight: float = 0.0
    embedding_cosine_weight: float = 0.0
    feature_cosine_weight: float = 0.0
    embedding_relation_weight: float = 0.0
    embedding_contrast_weight: float = 0.0
    embedding_octuplet_weight: float = 0.0
    feature_attention_weight: float = 0.0
    soft_influence_weight: float = 0.0
    distillation_weight_end: float | None = None

    def __post_init__(self) -> None:
        weights = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, weight in weights.items():
            if weight is not None and not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name} {weight}: expected a number >= 0; 0 leaves the term out")
        if not any(weights.values()):
            raise ValueError(
                f"all weights of the objective are 0 ({', '.join(weights)}): nothing would be learnt"
            )

    @property
    def compares_features(self) -> bool:
        """Whether a term looks at the coupling layer."""
        weights = self.feature_cosine_weight, self.feature_attention_weight
        return self._distils or any(weights)

    @property
    def compares_embeddings(self) -> bool:
        """Whether a term asks for the teacher's embedding."""
        weights = (
            self.embedding_mse_weight,
            self.embedding_cosine_weight,
            self.embedding_relation_weight,
            self.embedding_contrast_weight,
            self.embedding_octuplet_weight,
            self.soft_influence_weight,
        )
        return any(weights)

    @property
    def reaches_embedding(self) -> bool:
        """Whether a term looks at the network's end, not only at its coupling layer."""
        return bool(self.influence_weight or self.compares_embeddings)

    @property
    def _distils(self) -> bool:
        """Whether eq. 2 has a weight at any time of the run."""
        return bool(self.distillation_weight or self.distillation_weight_end)

    def __call__(
        self,
        *,
        influence: Tensor | None = None,
        soft_influence: Tensor | None = None,
        student_feature: Tensor | None = None,
        teacher_feature: Tensor | None = None,
        student_embedding: Tensor | None = None,
        teacher_embedding: Tensor | None = None,
        labels: Tensor | None = None,
        progress: float = 0.0,
    ) -> dict[str, Tensor]:
        """Named losses of one batch.

        Args:
            influence: `classifier(embedding, labels)`, a scalar (eq. 1).
            soft_influence: `classifier.soft_influence(student_embedding, teacher_embedding)`, a scalar.
            student_feature: z_r, the branch's output at the coupling layer, [B, C, r, r].
            teacher_feature: z_s, the trunk's at the same layer for the 112 px view.
            student_embedding: of the r x r view, [B, D].
            teacher_embedding: of the 112 px view, [B, D].
            labels: person of each face, int64 [B]; for octuplets.
            progress: share of the run that is done, from 0 to 1.

        Returns:
            The terms by name, "influence", "branch_distillation" and so on, each where its weight is not 0 and before
            weighing; and "total", their weighted sum. Scalars in float32.

        Raises:
            ValueError: if a term with a weight lacks its input.
        """
        losses: dict[str, Tensor] = {}
        total: list[Tensor] = []

        def add(name: str, weight: float, loss: Tensor) -> None:
            losses[name] = loss
            total.append(weight * loss)

        if self.influence_weight:
            add("influence", self.influence_weight, _given(influence, "influence"))
        if self.soft_influence_weight:
            add("soft_influence", self.soft_influence_weight, _given(soft_influence, "soft_influence"))
        if self.compares_features:
            features = _given(student_feature, "student_feature"), _given(teacher_feature, "teacher_feature")
            if self._distils:
                add("branch_distillation", self._distillation_at(progress), branch_distillation(*features))
            if self.feature_cosine_weight:
                add("feature_cosine", self.feature_cosine_weight, feature_cosine(*features))
            if self.feature_attention_weight:
                add("feature_attention", self.feature_attention_weight, feature_attention(*features))
        if self.compares_embeddings:
            pair = (
                _given(student_embedding, "student_embedding"),
                _given(teacher_embedding, "teacher_embedding"),
            )
            if self.embedding_mse_weight:
                add("embedding_mse", self.embedding_mse_weight, embedding_mse(*pair))
            if self.embedding_cosine_weight:
                add("embedding_cosine", self.embedding_cosine_weight, embedding_cosine(*pair))
            if self.embedding_relation_weight:
                add("embedding_relation", self.embedding_relation_weight, embedding_relation(*pair))
            if self.embedding_contrast_weight:
                add("embedding_contrast", self.embedding_contrast_weight, embedding_contrast(*pair))
            if self.embedding_octuplet_weight:
                octuplet = embedding_octuplet(*pair, _given(labels, "labels"))
                add("embedding_octuplet", self.embedding_octuplet_weight, octuplet)
        losses["total"] = torch.stack(total).sum()
        return losses

    def _distillation_at(self, progress: float) -> float:
        if self.distillation_weight_end is None:
            return self.distillation_weight
        return (1 - progress) * self.distillation_weight + progress * self.distillation_weight_end


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(
            f"{name} is missing: the objective's weights need it; pass it, or set that weight to 0"
        )
    return value
