"""The objective: equations 1 to 3 of the paper on one screen, as named losses. A further loss is a registered term."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Final

import torch
from torch import Tensor

__all__ = ["EQUATION_3", "TERMS", "Inputs", "Objective", "Term", "branch_distillation", "register_term"]


@dataclass(frozen=True)
class Inputs:
    """What a term may look at, of one batch.

    Attributes:
        influence: `classifier(embedding, labels)`, a scalar.
        student_feature: z_r, the branch's output at the coupling layer, [B, C, r, r].
        teacher_feature: z_s, the trunk's output at the same layer for the 112 px view.
        student_embedding: of the r x r view, [B, D], not normalised.
        teacher_embedding: of the 112 px view, [B, D].
    """

    influence: Tensor | None = None
    student_feature: Tensor | None = None
    teacher_feature: Tensor | None = None
    student_embedding: Tensor | None = None
    teacher_embedding: Tensor | None = None


@dataclass(frozen=True)
class Term:
    """A loss of the objective.

    Attributes:
        function: the tensors it needs, in that order, to a scalar in float32.
        needs: their names in `Inputs`; what no term with a weight needs is not computed.
    """

    function: Callable[..., Tensor]
    needs: tuple[str, ...]

    def __post_init__(self) -> None:
        known = [item.name for item in fields(Inputs)]
        if unknown := [name for name in self.needs if name not in known]:
            raise ValueError(f"a term that needs {unknown[0]!r}: expected some of {', '.join(known)}")


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
    student, teacher = student_and_teacher(student, teacher)
    return (student - teacher).square().mean()


TERMS: Final[dict[str, Term]] = {
    "influence": Term(lambda influence: influence, needs=("influence",)),  # eq. 1; the classifier computes it
    "branch_distillation": Term(branch_distillation, needs=("student_feature", "teacher_feature")),
}
"""By name; `btnet.method.distillation` adds those beyond the paper."""
EQUATION_3: Final = {"influence": 1.0, "branch_distillation": 0.5}


def register_term(name: str, term: Term) -> None:
    """Add a loss to `TERMS`. In a configuration `further_terms = {name: weight}` switches it on.

    Raises:
        ValueError: if the name is taken by the paper's own terms or by their sum.
    """
    if name in EQUATION_3 or name == "total":
        raise ValueError(f"term {name!r}: is the paper's own; choose another name")
    TERMS[name] = term


@dataclass(frozen=True)
class Objective:
    """L = L_influence + 0.5 L_branch (BTNet eq. 3), or another weighted sum of terms.

    Attributes:
        weights: by name of the term; one of weight 0 is neither needed nor computed.

    Raises:
        ValueError: for a name that is not registered, a weight below 0, or if all are 0.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: EQUATION_3)

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if name not in TERMS:
                raise ValueError(f"term {name!r}: expected one of {', '.join(TERMS)}, or call register_term")
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"weight {weight} of {name}: expected a number >= 0; 0 leaves the term out")
        if not any(self.weights.values()):
            raise ValueError(
                f"all weights of the objective are 0 ({', '.join(self.weights)}): nothing is learnt"
            )

    def needs(self, *names: str) -> bool:
        """Whether a term with a weight looks at one of these fields of `Inputs`."""
        return any(self.weights.get(name) and {*names} & {*term.needs} for name, term in TERMS.items())

    def __call__(self, inputs: Inputs) -> dict[str, Tensor]:
        """Named losses of one batch.

        Returns:
            Scalars in float32: each term that has a weight, before weighing, and "total", their weighted sum.

        Raises:
            ValueError: if a term with a weight lacks its input.
        """
        losses, weighted = {}, []
        for name, term in TERMS.items():
            if weight := self.weights.get(name):
                given = [getattr(inputs, need) for need in term.needs]
                if any(value is None for value in given):
                    raise ValueError(
                        f"{name} needs {' and '.join(term.needs)}: pass them, or set its weight to 0"
                    )
                losses[name] = term.function(*given)
                weighted.append(weight * losses[name])
        return {**losses, "total": torch.stack(weighted).sum()}


def student_and_teacher(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at least float32, where squares of half-precision features do not overflow; the teacher's detached.

    Raises:
        ValueError: if the shapes differ.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"student {list(student.shape)} and teacher {list(teacher.shape)} differ in shape; take both at the same "
            "layer, of the same images"
        )
    dtype = torch.promote_types(torch.float32, torch.promote_types(student.dtype, teacher.dtype))
    return student.to(dtype), teacher.detach().to(dtype)
