"""Losses over the faces of a batch see the global batch: value and DDP's gradient are those of one process."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from btnet.loss import (
    NormFace,
    ShardedClassifier,
    embedding_contrast,
    embedding_octuplet,
    embedding_relation,
)
from gloo import run_on_ranks

NUM_FACES = 8
LABELS = torch.tensor([0, 1, 2, 3, 0, 2, 4, 1])  # most pairs of a person are split between the ranks


def losses_and_gradients(rank: int, world_size: int) -> list[tuple[Tensor, Tensor]]:
    """Of a linear network, for each loss; the faces are spread over the ranks."""
    generator = torch.Generator().manual_seed(1)
    faces, teacher, weight = (
        torch.randn(shape, generator=generator).double() for shape in ((NUM_FACES, 6), (NUM_FACES, 5), (5, 6))
    )
    own = slice(rank * NUM_FACES // world_size, (rank + 1) * NUM_FACES // world_size)
    found = []
    for name in (
        "relation",
        "contrast",
        "octuplet",
        "soft influence",
        "soft influence, a rank without classes",
    ):
        linear = nn.Linear(6, 5, bias=False, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(weight)
        network = DistributedDataParallel(linear) if world_size > 1 else linear
        student = network(faces[own])
        if name == "relation":
            loss = embedding_relation(student, teacher[own])
        elif name == "contrast":
            loss = embedding_contrast(student, teacher[own])
        elif name == "octuplet":
            loss = embedding_octuplet(student, teacher[own], LABELS[own])
        else:
            classifier = ShardedClassifier(NormFace(), 1 if "without" in name else 7, 5, seed=2)
            loss = classifier.soft_influence(student, teacher[own])
        torch.autograd.backward(loss)
        assert linear.weight.grad is not None
        found.append((loss.detach(), linear.weight.grad))
    return found


def test_losses_over_a_batch_are_those_of_one_process_on_two_ranks() -> None:
    whole = losses_and_gradients(0, 1)
    ranks = run_on_ranks(losses_and_gradients, 2, 2)
    for i, (loss, gradient) in enumerate(whole):
        assert gradient.abs().max() > 1e-3 or i == 4  # of one class nobody can be less sure
        torch.testing.assert_close(
            torch.stack([rank[i][0] for rank in ranks]).mean(), loss, rtol=1e-12, atol=0
        )
        for rank in ranks:
            torch.testing.assert_close(rank[i][1], gradient, rtol=1e-10, atol=1e-14)
