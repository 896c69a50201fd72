"""What a network learns from the frozen trunk, face by face: terms over feature maps and over embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

__all__ = [
    "branch_distillation",
    "embedding_cosine",
    "embedding_mse",
    "feature_cosine",
]


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
    student, teacher = _student_and_teacher("embeddings", student, teacher)
    return (1 - cosine_similarity(student, teacher, dim=1)).mean()


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of feature maps [B, C, r, r], each taken as one vector; their lengths are free; else like eq. 2."""
    student, teacher = _student_and_teacher("features", student, teacher)
    return (1 - cosine_similarity(student.flatten(1), teacher.flatten(1), dim=1)).mean()


def _student_and_teacher(what: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at least float32, where squares of half-precision features do not overflow; the teacher's detached.

    Raises:
        ValueError: if the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"{what} of student {list(student.shape)} and teacher {list(teacher.shape)} differ in shape; "
            "take both at the same layer, of the same images"
        )
    dtype = torch.promote_types(torch.float32, torch.promote_types(student.dtype, teacher.dtype))
    return student.to(dtype), teacher.detach().to(dtype)


def _mean_squared_error(what: str, student: Tensor, teacher: Tensor) -> Tensor:
    student, teacher = _student_and_teacher(what, student, teacher)
    return (student - teacher).square().mean()
