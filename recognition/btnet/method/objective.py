"""The objective: equations 1 to 3 of the paper on one screen, as named losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Final, NamedTuple

import torch
from torch import Tensor

from btnet.method.distillation import branch_distillation, embedding_cosine, embedding_mse, feature_cosine

__all__ = ["Objective"]


class _Term(NamedTuple):
    """A loss, the weight that it is switched on by, and what it is made of."""

    weight: str
    needs: tuple[str, ...]
    loss: Callable[..., Tensor]


_INFLUENCE: Final = ("influence",)
_FEATURES: Final = ("student_feature", "teacher_feature")
_EMBEDDINGS: Final = ("student_embedding", "teacher_embedding")
_TERMS: Final = {
    "influence": _Term(
        "influence_weight", _INFLUENCE, lambda influence: influence
    ),  # eq. 1, of the classifier
    "branch_distillation": _Term("distillation_weight", _FEATURES, branch_distillation),  # eq. 2
    "feature_cosine": _Term("feature_cosine_weight", _FEATURES, feature_cosine),
    "embedding_mse": _Term("embedding_mse_weight", _EMBEDDINGS, embedding_mse),
    "embedding_cosine": _Term("embedding_cosine_weight", _EMBEDDINGS, embedding_cosine),
}


@dataclass(frozen=True)
class Objective:
    """L = L_influence + 0.5 L_branch (BTNet eq. 3); a term of weight 0 is neither needed nor computed.

    Attributes:
        influence_weight: of the classification loss against the old classifier (eq. 1).
        distillation_weight: of the coupling layer's MSE (eq. 2), lambda in the paper.
        embedding_mse_weight: of the embeddings' MSE: not in the paper, 0.5 in the authors' code.
        embedding_cosine_weight: of 1 - cosine of the embeddings: in neither.
        feature_cosine_weight: of 1 - cosine of the feature maps: in neither (F-SKD, arXiv 2303.04681).
    """

    influence_weight: float = 1.0
    distillation_weight: float = 0.5
    embedding_mse_weight: float = 0.0
    embedding_cosine_weight: float = 0.0
    feature_cosine_weight: float = 0.0

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
        return any(term.needs == _FEATURES for _, _, term in self._weighed())

    @property
    def compares_embeddings(self) -> bool:
        """Whether a term asks for the teacher's embedding."""
        return any(term.needs == _EMBEDDINGS for _, _, term in self._weighed())

    @property
    def reaches_embedding(self) -> bool:
        """Whether a term looks at the network's end, not only at its coupling layer."""
        return any(term.needs != _FEATURES for _, _, term in self._weighed())

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
            The terms by name, "influence", "branch_distillation" and so on, each where its weight is not 0 and before
            weighing; and "total", their weighted sum. Scalars in float32.

        Raises:
            ValueError: if a term with a weight lacks its input.
        """
        given = {
            "influence": influence,
            "student_feature": student_feature,
            "teacher_feature": teacher_feature,
            "student_embedding": student_embedding,
            "teacher_embedding": teacher_embedding,
        }
        losses, total = {}, []
        for name, weight, term in self._weighed():
            losses[name] = term.loss(*(_given(given[need], need) for need in term.needs))
            total.append(weight * losses[name])
        losses["total"] = torch.stack(total).sum()
        return losses

    def _weighed(self) -> Iterator[tuple[str, float, _Term]]:
        """Name, weight and term of those that are switched on."""
        for name, term in _TERMS.items():
            if weight := getattr(self, term.weight):
                yield name, weight, term


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(
            f"{name} is missing: the objective's weights need it; pass it, or set that weight to 0"
        )
    return value
