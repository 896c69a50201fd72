from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from btnet.loss import Objective, embedding_contrast, embedding_octuplet, embedding_relation

# two people with two faces, one with one
LABELS = torch.tensor([4, 7, 4, 9, 7])


def pair(num_faces: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(num_faces, 6, generator=generator).double() for _ in range(2))
    return student.requires_grad_(), teacher


def unit(vector: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vector, dim=0)


def test_relations_are_those_of_every_two_faces() -> None:
    student, teacher = pair(4)
    loss = 0.0
    for a in range(4):
        for b in range(4):
            low = torch.cosine_similarity(student[a], teacher[b], dim=0)
            high = torch.cosine_similarity(teacher[a], teacher[b], dim=0)
            loss += (low - high).item() ** 2 / 16
    assert embedding_relation(student, teacher).item() == pytest.approx(loss, rel=1e-9)
    assert embedding_relation(teacher, teacher).item() == pytest.approx(0.0, abs=1e-10)
    losses = Objective(0, 0, embedding_relation_weight=3.0)(
        student_embedding=student, teacher_embedding=teacher
    )
    torch.testing.assert_close(losses["total"], 3 * embedding_relation(student, teacher))


def test_the_contrast_is_a_cross_entropy_of_directions_seen_from_each_other_face() -> None:
    student, teacher = pair()
    expected = []
    for j in range(5):
        for i in set(range(5)) - {j}:
            seen = unit(student[j]) - unit(teacher[i])
            scores = {}
            for k in set(range(5)) - {i}:
                other = unit(teacher[k]) - unit(teacher[i])
                scores[k] = math.exp(torch.cosine_similarity(seen, other, dim=0).item() / 0.2)
            expected.append(-math.log(scores[j] / sum(scores.values())))
    found = embedding_contrast(student, teacher, temperature=0.2)
    assert found.item() == pytest.approx(sum(expected) / 20, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: embedding_contrast(x, teacher), student)
    assert embedding_contrast(teacher, teacher) < found


def test_the_contrast_stays_finite_where_faces_are_equal() -> None:
    teacher = pair()[1][[0, 0, 1, 2]]
    student = teacher.clone().requires_grad_()
    torch.autograd.backward(embedding_contrast(student, teacher))
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_octuplets_are_the_hardest_triplets_of_each_anchor() -> None:
    student, teacher = pair()
    low, high = [unit(x) for x in student.detach()], [unit(x) for x in teacher]
    expected = 0.0
    for anchors, others, skip_itself in ((high, low, False), (low, high, False), (low, low, True)):
        losses = []
        for i, anchor in enumerate(anchors):
            distances = [1 - float(anchor @ other) for other in others]
            positives = [
                d for j, d in enumerate(distances) if LABELS[j] == LABELS[i] and not (skip_itself and i == j)
            ]
            negatives = [d for j, d in enumerate(distances) if LABELS[j] != LABELS[i]]
            if positives:
                losses.append(max(0.0, max(positives) - min(negatives) + 0.3))
        expected += sum(losses) / len(losses)
        assert len(losses) == (4 if skip_itself else 5)
    found = embedding_octuplet(student, teacher, LABELS, margin=0.3)
    assert found.item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: embedding_octuplet(x, teacher, LABELS), student)


@pytest.mark.parametrize("labels", [torch.zeros(5, dtype=torch.int64), torch.arange(5)])
def test_octuplets_without_negatives_or_without_second_faces_have_a_finite_gradient(labels: Tensor) -> None:
    student, teacher = pair()
    loss = embedding_octuplet(student, teacher, labels)
    torch.autograd.backward(loss)
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert (loss.item() == 0) == (labels[1] == 0)


def test_relations_are_taken_in_full_precision_under_autocast() -> None:
    student, teacher = (x.detach().float() for x in pair())
    expected = [
        embedding_relation(student, teacher),
        embedding_contrast(student, teacher),
        embedding_octuplet(student, teacher, LABELS),
    ]
    with torch.autocast("cpu", torch.bfloat16):
        found = [
            embedding_relation(student, teacher),
            embedding_contrast(student, teacher),
            embedding_octuplet(student, teacher, LABELS),
        ]
    assert found == expected


def test_the_objective_hands_labels_to_the_octuplets_and_weighs_them() -> None:
    student, teacher = pair()
    objective = Objective(0, 0, embedding_octuplet_weight=3.0, embedding_contrast_weight=2.0)
    losses = objective(student_embedding=student, teacher_embedding=teacher, labels=LABELS)
    expected = 3 * embedding_octuplet(student, teacher, LABELS) + 2 * embedding_contrast(student, teacher)
    torch.testing.assert_close(losses["total"], expected)
    with pytest.raises(ValueError, match="labels is missing"):
        objective(student_embedding=student, teacher_embedding=teacher)


def test_two_faces_have_no_relations_to_contrast() -> None:
    with pytest.raises(ValueError, match=r"batch of 2 faces.*embedding_contrast_weight"):
        embedding_contrast(*pair(2))
