"""The optimiser's step over all of a parameter, and over the sampled rows of one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.functional import cross_entropy, normalize

from btnet.loss import ArcFace, NormFace, ShardedClassifier
from btnet.loss.centres import sampled_classes
from btnet.training.optimizer import RowSGD, set_rate

NUM_CLASSES, SIZE, RATE, MOMENTUM, DECAY = 40, 6, 0.3, 0.9, 0.05


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    embeddings = torch.randn(5, SIZE, generator=generator, dtype=torch.float64)
    return embeddings, torch.randint(0, NUM_CLASSES, (5,), generator=generator)


def sampled_classifier() -> ShardedClassifier:
    classifier = ShardedClassifier(NormFace(scale=16.0), NUM_CLASSES, SIZE, sample_rate=0.3, seed=3).double()
    torch.manual_seed(0)
    classifier.load_full_weight(torch.randn(NUM_CLASSES, SIZE, dtype=torch.float64))
    return classifier


def test_steps_over_sampled_centres_equal_the_formula_written_out() -> None:
    classifier = sampled_classifier()
    optimizer = RowSGD(classifier.parameters(), momentum=MOMENTUM, weight_decay=DECAY)
    set_rate(optimizer, RATE)
    centres = classifier.weight.detach().clone()
    velocity = torch.zeros_like(centres)
    drawn: set[int] = set()
    for step in range(4):
        embeddings, labels = batch(step)
        optimizer.zero_grad()
        classifier(embeddings, labels).backward()
        optimizer.step()

        kept = sampled_classes(labels, NUM_CLASSES, 0.3, 3, step).tolist()
        before = centres.clone()
        for row in kept:  # each centre on its own: loss as a function of it alone
            own = centres[row].clone().requires_grad_()
            rows = torch.stack([own if k == row else before[k] for k in kept])
            logits = 16.0 * normalize(embeddings) @ normalize(rows).T
            loss = cross_entropy(logits, torch.tensor([kept.index(int(label)) for label in labels]))
            (gradient,) = torch.autograd.grad(loss, own)
            velocity[row] = MOMENTUM * velocity[row] + gradient + DECAY * before[row]
        for row in kept:
            centres[row] = before[row] - RATE * velocity[row]
        drawn |= set(kept)
        momentum = optimizer.state[classifier.weight]["momentum_buffer"]
        torch.testing.assert_close(classifier.weight.detach(), centres, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(momentum, velocity, rtol=1e-12, atol=1e-12)
    assert 12 < len(drawn) < NUM_CLASSES  # some centres were drawn anew, some never


def test_centres_that_are_not_drawn_rest_with_their_momentum() -> None:
    classifier = sampled_classifier()
    optimizer = RowSGD(classifier.parameters(), momentum=MOMENTUM, weight_decay=DECAY)
    set_rate(optimizer, RATE)
    for step in range(3):
        weight = classifier.weight.detach().clone()
        momentum = optimizer.state[classifier.weight].get("momentum_buffer", torch.zeros_like(weight)).clone()
        optimizer.zero_grad()
        classifier(*batch(step)).backward()
        optimizer.step()
        assert classifier.sampled is not None
        rests = torch.ones(NUM_CLASSES, dtype=torch.bool)
        rests[classifier.sampled] = False
        now = optimizer.state[classifier.weight]["momentum_buffer"]
        assert torch.equal(classifier.weight.detach()[rests], weight[rests])
        assert torch.equal(now[rests], momentum[rests])
        assert not (classifier.weight.detach()[~rests] == weight[~rests]).all(dim=1).any()


def test_dense_gradients_are_stepped_as_by_torch() -> None:
    torch.manual_seed(0)
    found, expected = nn.Linear(4, 3), nn.Linear(4, 3)
    expected.load_state_dict(found.state_dict())
    ours = RowSGD(found.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    torchs = torch.optim.SGD(expected.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    x = torch.randn(5, 4)
    for network, optimizer in ((found, ours), (expected, torchs)):
        for _ in range(3):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
    assert torch.equal(found.weight, expected.weight)
    assert torch.equal(found.bias, expected.bias)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_sparse_gradient_of_all_rows_is_a_dense_one(momentum: float) -> None:
    weight = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    results = []
    for sparse in (False, True):
        parameter = nn.Parameter(weight.clone())
        optimizer = RowSGD([parameter], lr=0.1, momentum=momentum, weight_decay=0.01)
        for step in range(3):
            gradient = torch.full_like(weight, 1.0 + step)
            parameter.grad = gradient.to_sparse(1) if sparse else gradient
            optimizer.step()
        results.append(parameter.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-14, atol=0)


def test_the_scaler_of_fp16_skips_a_sampled_step_that_overflowed() -> None:
    classifier = ShardedClassifier(ArcFace(), NUM_CLASSES, SIZE, sample_rate=0.3)
    optimizer = RowSGD(classifier.parameters(), momentum=MOMENTUM, weight_decay=0.0)
    set_rate(optimizer, RATE)
    embeddings, labels = batch(0)
    steps = []
    for scale in (256.0, 2.0**127):
        scaler = GradScaler("cpu", init_scale=scale)
        optimizer.zero_grad()
        before = classifier.weight.detach().clone()
        loss = scaler.scale(classifier(embeddings.float(), labels) * (1.0 if scale == 256.0 else 1e6))
        loss.backward()
        scaler.unscale_(optimizer)
        assert classifier.weight.grad is not None
        steps.append(classifier.weight.grad.coalesce().values().norm())
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(classifier.weight, before) == (scale != 256.0)
    assert torch.isfinite(steps[0])
    assert not torch.isfinite(steps[1])
