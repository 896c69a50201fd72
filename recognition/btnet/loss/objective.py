"""The objective: equations 1 to 3 of the paper on one screen, as named losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

__all__ = [
    "Objective",
    "branch_distillation",
    "embedding_cosine",
    "embedding_mse",
    "embedding_relation",
    "feature_cosine",
]


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
    """

    influence_weight: float = 1.0
    distillation_weight: float = 0.5
    embedding_mse_weight: float = 0.0
    embedding_cosine_weight: float = 0.0
    feature_cosine_weight: float = 0.0
    embedding_relation_weight: float = 0.0

    def __post_init__(self) -> None:
        weights = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"{name} {weight}: expected a number >= 0; 0 leaves the term out")
        if not any(weights.values()):
            raise ValueError(
                f"all weights of the objective are 0 ({', '.join(weights)}): nothing would be learnt"
            )

    @property
    def compares_features(self) -> bool:
        """Whether a term looks at the coupling layer."""
        return bool(self.distillation_weight or self.feature_cosine_weight)

    @property
    def compares_embeddings(self) -> bool:
        """Whether a term asks for the teacher's embedding."""
        weights = self.embedding_mse_weight, self.embedding_cosine_weight, self.embedding_relation_weight
        return any(weights)

    @property
    def reaches_embedding(self) -> bool:
        """Whether a term looks at the network's end, not only at its coupling layer."""
        return bool(self.influence_weight or self.compares_embeddings)

    def __call__(
        self,
        *,
        influence: Tensor | None = None,
        student_feature: Tensor | None = None,
        teacher_feature: Tensor | None = None,
        student_embedding: Tensor | None = None,
        teacher_embedding: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Named losses of one batch.

        Args:
            influence: `classifier(embedding, labels)`, a scalar (eq. 1).
            student_feature: z_r, the branch's output at the coupling layer, [B, C, r, r].
            teacher_feature: z_s, the trunk's at the same layer for the 112 px view.
            student_embedding: of the r x r view, [B, D].
            teacher_embedding: of the 112 px view, [B, D].

        Returns:
            "influence", "branch_distillation", "embedding_mse", "embedding_cosine", "embedding_relation",
            "feature_cosine", each where its
            weight is not 0 and before weighing; and "total", their weighted sum. Scalars in float32.

        Raises:
            ValueError: if a term with a weight lacks its input.
        """
        losses: dict[str, Tensor] = {}
        total: list[Tensor] = []
        if self.influence_weight:
            losses["influence"] = _given(influence, "influence")
            total.append(self.influence_weight * losses["influence"])
        if self.compares_features:
            features = _given(student_feature, "student_feature"), _given(teacher_feature, "teacher_feature")
            if self.distillation_weight:
                losses["branch_distillation"] = branch_distillation(*features)
                total.append(self.distillation_weight * losses["branch_distillation"])
            if self.feature_cosine_weight:
                losses["feature_cosine"] = feature_cosine(*features)
                total.append(self.feature_cosine_weight * losses["feature_cosine"])
        if self.compares_embeddings:
            student = _given(student_embedding, "student_embedding")
            teacher = _given(teacher_embedding, "teacher_embedding")
            if self.embedding_mse_weight:
                losses["embedding_mse"] = embedding_mse(student, teacher)
                total.append(self.embedding_mse_weight * losses["embedding_mse"])
            if self.embedding_cosine_weight:
                losses["embedding_cosine"] = embedding_cosine(student, teacher)
                total.append(self.embedding_cosine_weight * losses["embedding_cosine"])
            if self.embedding_relation_weight:
                losses["embedding_relation"] = embedding_relation(student, teacher)
                total.append(self.embedding_relation_weight * losses["embedding_relation"])
        losses["total"] = torch.stack(total).sum()
        return losses


def branch_distillation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error at the coupling layer (BTNet eq. 2).

    The paper divides by the batch size only; the mean over all elements, as in the authors' code, differs by
    a factor C r r, which lambda = 0.5 counts on.

    Args:
        student: features of the r x r view, [B, C, r, r].
        teacher: trunk features of the 112 px view, same shape. Receives no gradient.

    Returns:
        Scalar in float32, averaged over all elements.

    Raises:
        ValueError: if the shapes differ.
    """
    return _mean_squared_error("features", student, teacher)


def embedding_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of un-normalised embeddings [B, D], as in the authors' code; else like eq. 2."""
    return _mean_squared_error("embeddings", student, teacher)


def embedding_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of embeddings [B, D], averaged over the batch: their lengths are free; else like eq. 2."""
    student, teacher = _pair("embeddings", student, teacher)
    return (1 - cosine_similarity(student, teacher, dim=1)).mean()


def embedding_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """How far each face's cosines to the batch's 112 px faces are from what they are at 112 px; else like eq. 2.

    Args:
        student: embeddings of the r x r views, [B, D].
        teacher: of the 112 px views, [B, D]; a face and itself count like any two.

    Returns:
        Mean squared difference of the B x B cosines (student to teacher, teacher to teacher).
    """
    student, teacher = _pair("embeddings", student, teacher)
    faces = normalize(teacher, dim=1)
    return (normalize(student, dim=1) @ faces.T - faces @ faces.T).square().mean()


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of feature maps [B, C, r, r], each taken as one vector; their lengths are free; else like eq. 2."""
    student, teacher = _pair("features", student, teacher)
    return (1 - cosine_similarity(student.flatten(1), teacher.flatten(1), dim=1)).mean()


def _mean_squared_error(what: str, student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = _pair(what, student, teacher)
    return (student - teacher).square().mean()


def _pair(what: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.shape != teacher.shape:
        raise ValueError(
            f"{what} of student {list(student.shape)} and teacher {list(teacher.shape)} differ in shape; "
            "take both at the same layer, of the same images"
        )
    # squares of half-precision features overflow: float32 (float64 stays)
    dtype = torch.promote_types(torch.float32, torch.promote_types(student.dtype, teacher.dtype))
    return student.to(dtype), teacher.detach().to(dtype)


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(
            f"{name} is missing: the objective's weights need it; pass it, or set that weight to 0"
        )
    return value
