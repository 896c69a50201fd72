from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from btnet.loss import (
    Inputs,
    Objective,
    Term,
    branch_distillation,
    embedding_cosine,
    embedding_mse,
    feature_cosine,
    register_term,
)
from btnet.method.objective import TERMS


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).requires_grad_(), torch.randn(shape, generator=generator)


def test_branch_distillation_is_the_mean_squared_difference() -> None:
    student, teacher = pair(2, 3, 4, 4)
    expected = ((student.detach().double().numpy() - teacher.double().numpy()) ** 2).sum() / (2 * 3 * 4 * 4)
    loss = branch_distillation(student, teacher)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    torch.autograd.backward(loss)
    torch.testing.assert_close(student.grad, 2 * (student.detach() - teacher) / 96)


def test_embedding_losses_follow_their_formulas() -> None:
    student, teacher = pair(5, 7)
    s, t = student.detach().double().numpy(), teacher.double().numpy()
    cosine = (s * t).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1)
    assert float(embedding_mse(student, teacher).detach()) == pytest.approx(((s - t) ** 2).mean(), rel=1e-6)
    assert float(embedding_cosine(student, teacher).detach()) == pytest.approx((1 - cosine).mean(), rel=1e-6)
    assert float(embedding_cosine(3 * teacher, teacher)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [branch_distillation, embedding_mse, embedding_cosine])
def test_teacher_receives_no_gradient_and_half_precision_does_not_overflow(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    student, teacher = (x.detach().mul(1e4).half().requires_grad_() for x in pair(4, 8))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert math.isfinite(float(value.detach()))
    torch.autograd.backward(value)
    assert teacher.grad is None
    assert student.grad is not None


def test_default_objective_is_equation_3() -> None:
    feature, embedding = pair(2, 3, 4, 4), pair(2, 8)
    influence = torch.tensor(7.0, requires_grad=True)
    losses = Objective()(Inputs(influence, *feature, *embedding))
    assert list(losses) == ["influence", "branch_distillation", "total"]
    torch.testing.assert_close(losses["total"], 7 + 0.5 * branch_distillation(*feature))
    torch.autograd.backward(losses["total"])
    assert influence.grad == 1
    assert embedding[0].grad is None


def test_every_term_enters_the_total_with_its_weight() -> None:
    feature, embedding = pair(2, 3, 4, 4), pair(2, 8)
    weights = {"influence": 2.0, "branch_distillation": 3.0, "embedding_mse": 5.0, "embedding_cosine": 7.0}
    losses = Objective(weights)(Inputs(torch.tensor(1.5), *feature, *embedding))
    assert set(losses) == {*weights, "total"}
    torch.testing.assert_close(
        losses["total"], torch.stack([weight * losses[name] for name, weight in weights.items()]).sum()
    )


def test_a_term_of_weight_zero_needs_no_input() -> None:
    objective = Objective({"influence": 1.0, "branch_distillation": 0.0})
    assert set(objective(Inputs(influence=torch.tensor(1.0)))) == {"influence", "total"}
    assert objective.needs("influence")
    assert not objective.needs("student_feature", "teacher_embedding")


def test_a_registered_term_enters_the_total_like_the_paper_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "length", TERMS["influence"])  # and so removed behind the test
    register_term(
        "length", Term(lambda embedding: embedding.norm(dim=1).mean(), needs=("student_embedding",))
    )
    embedding, _ = pair(2, 8)
    losses = Objective({"influence": 1.0, "length": 0.5})(
        Inputs(torch.tensor(1.0), student_embedding=embedding)
    )
    torch.testing.assert_close(losses["total"], 1 + 0.5 * embedding.norm(dim=1).mean())


def test_errors_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"branch_distillation needs student_feature and teacher_feature"):
        Objective()(Inputs(influence=torch.tensor(1.0), student_feature=torch.zeros(1, 1, 1, 1)))
    with pytest.raises(ValueError, match=r"\[2, 3\] and teacher \[2, 4\].*same layer"):
        branch_distillation(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"weight -1 of embedding_mse"):
        Objective({"embedding_mse": -1})
    with pytest.raises(ValueError, match=r"all weights.*are 0"):
        Objective({"influence": 0, "branch_distillation": 0})
    with pytest.raises(ValueError, match=r"'infuence': expected one of influence"):
        Objective({"infuence": 1})
    with pytest.raises(ValueError, match=r"needs 'logits': expected some of influence"):
        Term(torch.sum, needs=("logits",))
    with pytest.raises(ValueError, match=r"the paper's own"):
        register_term("influence", TERMS["embedding_mse"])


def test_the_cosine_of_features_is_that_of_the_flattened_maps_and_blind_to_their_length() -> None:
    student, teacher = pair(3, 2, 4, 4)
    a, b = student.detach().numpy().reshape(3, -1), teacher.detach().numpy().reshape(3, -1)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert feature_cosine(student, teacher).item() == pytest.approx(1 - cosine.mean(), rel=1e-5)
    torch.testing.assert_close(feature_cosine(3 * student, teacher), feature_cosine(student, teacher))
    losses = Objective({"feature_cosine": 2.0})(Inputs(student_feature=student, teacher_feature=teacher))
    torch.testing.assert_close(losses["total"], 2 * feature_cosine(student, teacher))
