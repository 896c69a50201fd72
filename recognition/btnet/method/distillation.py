"""Losses beyond the paper that compare a network with the frozen trunk, face by face. All are off by default."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cosine_similarity

from btnet.method.objective import Term, register_term, student_and_teacher

__all__ = ["embedding_cosine", "embedding_mse", "feature_cosine"]


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of feature maps [B, C, r, r], each taken as one vector (F-SKD, arXiv 2303.04681)."""
    student, teacher = student_and_teacher(student, teacher)
    return (1 - cosine_similarity(student.flatten(1), teacher.flatten(1), dim=1)).mean()


def embedding_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error of un-normalised embeddings [B, D]; the authors' code has it with weight 0.5."""
    student, teacher = student_and_teacher(student, teacher)
    return (student - teacher).square().mean()


def embedding_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of embeddings [B, D], averaged over the batch: their lengths are free."""
    student, teacher = student_and_teacher(student, teacher)
    return (1 - cosine_similarity(student, teacher, dim=1)).mean()


_FEATURES, _EMBEDDINGS = ("student_feature", "teacher_feature"), ("student_embedding", "teacher_embedding")
register_term("feature_cosine", Term(feature_cosine, needs=_FEATURES))
register_term("embedding_mse", Term(embedding_mse, needs=_EMBEDDINGS))
register_term("embedding_cosine", Term(embedding_cosine, needs=_EMBEDDINGS))
