"""Loss, gradients and running state of the sharded classifier: the same for 1, 2 and 4 ranks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from btnet.interop.arcface_torch import as_margin_softmax
from btnet.loss import MARGINS, CurricularFace, ShardedClassifier, build_prototypes
from btnet.loss.ranks import Ranks
from btnet.loss.softmax import distributed_cross_entropy
from btnet.training.optimizer import RowSGD, set_rate
from gloo import run_on_ranks

STEPS, BATCH, INPUTS, EMBEDDING = 3, 16, 12, 8
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


@dataclass(frozen=True)
class Case:
    margin: str = "curricularface"
    num_classes: int = 23  # 4 ranks hold 6, 6, 6, 5
    num_labels: int = 23  # labels come from the first of them
    sample_rate: float = 1.0
    frozen: bool = False


CASES = {
    **{margin: Case(margin) for margin in MARGINS},
    "a rank without positives": Case(num_labels=5),
    "ranks without classes": Case(num_classes=5, num_labels=5),  # 4 ranks hold 2, 2, 1, 0
    "fewer classes than ranks": Case(num_classes=2, num_labels=2),
    "sampled": Case(num_classes=97, num_labels=97, sample_rate=0.4),
    "sampled, a rank without any": Case(num_classes=97, num_labels=10, sample_rate=0.1),
    "sampled, positives alone are more": Case(sample_rate=0.1),
    "sampled arcface": Case("arcface", num_classes=97, num_labels=97, sample_rate=0.4),
    "frozen": Case(frozen=True),
    "frozen and sampled": Case(num_classes=97, num_labels=97, frozen=True, sample_rate=0.4),
}

# In float32, which is only rounded otherwise, one of each kind.
IN_FLOAT32 = ("curricularface", "adaface", "sampled", "frozen", "ranks without classes")
RECORDS = [(name, torch.float64) for name in CASES] + [(name, torch.float32) for name in IN_FLOAT32]


def batch(case: Case, step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(BATCH, INPUTS, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.randint(0, case.num_labels, (BATCH,), generator=generator)


def network(dtype: torch.dtype, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(INPUTS, 16), nn.Tanh(), nn.Linear(16, EMBEDDING)).to(dtype)


def train(case: Case, dtype: torch.dtype, group: dist.ProcessGroup | None) -> dict[str, Tensor]:
    """Three steps on this rank's part of each global batch; everything that must not depend on the ranks.

    In float64 the steps train on. In float32 a step's rounding grows in the next ones, whatever the code:
    each starts from drawn parameters, and only the state of margin and sampling goes on.
    """
    ranks = Ranks.of(group)
    classifier = ShardedClassifier(
        MARGINS[case.margin](),
        case.num_classes,
        EMBEDDING,
        sample_rate=case.sample_rate,
        frozen=case.frozen,
        group=group,
        seed=5,
    ).to(dtype)
    backbone = network(dtype)
    if ranks.world_size > 1:
        backbone = DistributedDataParallel(backbone, process_group=group)
    learnt = [*backbone.parameters(), *(() if case.frozen else classifier.parameters())]
    optimizer = RowSGD(learnt, momentum=0.9, weight_decay=5e-4)
    set_rate(optimizer, 0.001)
    record: dict[str, Tensor] = {}
    for step in range(STEPS):
        images, labels = (part.chunk(ranks.world_size)[ranks.rank] for part in batch(case, step, dtype))
        if dtype == torch.float32:
            generator = torch.Generator().manual_seed(100 + step)
            classifier.load_full_weight(torch.randn(case.num_classes, EMBEDDING, generator=generator))
            plain = backbone.module if isinstance(backbone, DistributedDataParallel) else backbone
            plain.load_state_dict(network(dtype, step).state_dict())
        optimizer.zero_grad()
        loss = classifier(backbone(images), labels)
        loss.backward()
        record[f"loss {step}"] = loss.detach()
        gradients = [parameter.grad for parameter in backbone.parameters() if parameter.grad is not None]
        assert len(gradients) == 4
        record[f"backbone gradient {step}"] = torch.cat([gradient.flatten() for gradient in gradients])
        if not case.frozen:
            assert classifier.weight.grad is not None
            record[f"centre gradient {step}"] = gathered(classifier.weight.grad.to_dense(), ranks)
        else:
            assert classifier.weight.grad is None
        optimizer.step()
        if not case.frozen:
            momentum = optimizer.state[classifier.weight]["momentum_buffer"]
            record[f"centre momentum {step}"] = gathered(momentum, ranks)
    for name, value in classifier.margin.named_buffers():
        record[name] = value.clone()
    record["step"] = classifier.step.clone()
    weight = classifier.full_weight()
    if weight is not None:
        record["weight"] = weight
    return record


def gathered(rows: Tensor, ranks: Ranks) -> Tensor:
    """Shards of uneven height, joined."""
    if ranks.world_size == 1:
        return rows.clone()
    shards: list[Any] = [None] * ranks.world_size
    dist.all_gather_object(shards, rows, group=ranks.group)
    return torch.cat(shards)


def relative_error(value: Tensor, expected: Tensor) -> float:
    value, expected = value.double(), expected.double()
    return float((value - expected).norm() / expected.norm().clamp(min=1e-30))


def on_rank(rank: int) -> dict[str, Any]:
    """All that needs 4 processes, in one start of them."""
    groups = {1: dist.new_group([0]), 2: dist.new_group([0, 1]), 4: None}
    records = {
        (name, dtype, world_size): train(case, dtype, group)
        for world_size, group in groups.items()
        if rank < world_size
        for name, dtype in RECORDS
        for case in [CASES[name]]
    }
    return {
        "records": records,
        "partial_fc": partial_fc_like(),
        "unequal": refusal(5 if rank == 2 else 4, 0),
        "label": refusal(4, 23 if rank == 3 else 0),
        "prototypes": prototypes(rank),
        "reload": reload(),
    }


def refusal(batch_size: int, label: int) -> str:
    classifier = ShardedClassifier(CurricularFace(), 23, EMBEDDING)
    with pytest.raises(ValueError, match=r".") as error:
        classifier(torch.ones(batch_size, EMBEDDING), torch.full((batch_size,), label))
    return str(error.value)


def partial_fc_like() -> dict[str, Tensor]:
    """What PartialFC_V2 does around the margin, with `as_margin_softmax` inside."""
    ranks = Ranks.of(None)
    start, stop = 5 * ranks.rank, 5 * ranks.rank + 5
    torch.manual_seed(1)
    cosine = (
        normalize(torch.randn(BATCH, 6, dtype=torch.float64))
        @ normalize(torch.randn(20, 6, dtype=torch.float64)).T
    )
    labels = torch.arange(BATCH) % 20
    own = cosine[:, start:stop].clone().requires_grad_()
    columns = torch.where((labels >= start) & (labels < stop), labels - start, -1)
    softmax = as_margin_softmax(CurricularFace()).double()
    logits = softmax(own, columns.unsqueeze(1))
    loss = distributed_cross_entropy(logits, columns, ranks)
    torch.autograd.backward(loss)
    assert own.grad is not None
    return {"logits": logits.detach(), "gradient": own.grad, "loss": loss.detach(), "t": softmax.margin.t}


def prototypes(rank: int) -> Tensor:
    images, labels = batch(Case(num_labels=4), 0, torch.float32)
    part = [(images[rank::4], labels[rank::4])]
    return build_prototypes(network(torch.float32), part, 4, EMBEDDING, "cpu", group=dist.group.WORLD)


def reload() -> bool:
    classifier = ShardedClassifier(CurricularFace(), 23, EMBEDDING, seed=1)
    weight = torch.randn(23, EMBEDDING, generator=torch.Generator().manual_seed(2))
    classifier.load_full_weight(weight)
    full = classifier.full_weight()
    return full is None if dist.get_rank() > 0 else full is not None and torch.equal(full, weight)


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    return run_on_ranks(on_rank, 4)


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize(("name", "dtype"), RECORDS)
def test_loss_gradients_and_state_do_not_depend_on_the_number_of_ranks(
    name: str, dtype: torch.dtype, world_size: int, ranks: list[dict[str, Any]]
) -> None:
    expected = ranks[0]["records"][name, dtype, 1]
    for rank in range(world_size):
        record = ranks[rank]["records"][name, dtype, world_size]
        assert set(expected) - set(record) == ({"weight"} if rank > 0 else set())
        errors = {key: relative_error(record[key], expected[key]) for key in record}
        if os.environ.get("BTNET_SHOW_ERRORS"):
            print(name, dtype, world_size, rank, max(errors.values()), max(errors, key=lambda k: errors[k]))
        assert max(errors.values()) <= TOLERANCE[dtype], errors


def test_one_rank_of_a_group_equals_a_process_without_any(ranks: list[dict[str, Any]]) -> None:
    for name, case in CASES.items():
        alone = train(case, torch.float64, None)
        expected = ranks[0]["records"][name, torch.float64, 1]
        assert max(relative_error(alone[key], expected[key]) for key in expected) <= 1e-12


def test_partial_fc_with_our_margin_equals_the_margin_over_all_classes(ranks: list[dict[str, Any]]) -> None:
    torch.manual_seed(1)
    cosine = (
        normalize(torch.randn(BATCH, 6, dtype=torch.float64))
        @ normalize(torch.randn(20, 6, dtype=torch.float64)).T
    )
    cosine.requires_grad_()
    labels = torch.arange(BATCH) % 20
    margin = CurricularFace().double()
    logits = margin(cosine, labels)
    loss = nn.functional.cross_entropy(logits, labels)
    torch.autograd.backward(loss)
    assert cosine.grad is not None
    found = [rank["partial_fc"] for rank in ranks]
    torch.testing.assert_close(
        torch.cat([f["logits"] for f in found], 1), logits.detach(), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        torch.cat([f["gradient"] for f in found], 1), cosine.grad, rtol=1e-12, atol=1e-12
    )
    for f in found:
        assert float(f["loss"]) == pytest.approx(float(loss.detach()), rel=1e-12)
        assert float(f["t"]) == pytest.approx(float(margin.t), rel=1e-12)


def test_unequal_batches_are_refused_on_all_ranks_with_their_sizes(ranks: list[dict[str, Any]]) -> None:
    assert all("[4, 4, 5, 4]" in rank["unequal"] and "drop_last=True" in rank["unequal"] for rank in ranks)


def test_a_wrong_label_on_one_rank_is_refused_on_all(ranks: list[dict[str, Any]]) -> None:
    assert all("label 23" in rank["label"] and "num_classes 23" in rank["label"] for rank in ranks)


def test_prototypes_of_parts_equal_those_of_the_whole(ranks: list[dict[str, Any]]) -> None:
    images, labels = batch(Case(num_labels=4), 0, torch.float32)
    whole = build_prototypes(network(torch.float32), [(images, labels)], 4, EMBEDDING, "cpu")
    for rank in ranks:
        torch.testing.assert_close(rank["prototypes"], whole, rtol=0, atol=1e-6)


def test_full_weight_gives_back_on_rank_0_what_was_loaded(ranks: list[dict[str, Any]]) -> None:
    assert all(rank["reload"] for rank in ranks)
