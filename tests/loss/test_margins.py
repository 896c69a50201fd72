from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from btnet.loss import (
    MARGINS,
    AdaFace,
    ArcFace,
    ArcFaceStraightThrough,
    CosFace,
    CurricularFace,
    Margin,
    NormFace,
    SphereFace,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "assets" / "metrics.json").read_text())
SEED = 3
LABELS = (7 * torch.arange(8) + 3) % 20
ALL: list[Callable[[], Margin]] = [*MARGINS.values()]


def unit(count: int, size: int, seed: int) -> Any:
    rows = np.random.RandomState(seed).standard_normal((count, size))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosines() -> Tensor:
    return torch.from_numpy(unit(8, 16, SEED) @ unit(20, 16, SEED + 1).T)


def norms() -> Tensor:
    return torch.linspace(5, 60, 8, dtype=torch.float64)


@pytest.mark.parametrize("margin", [ArcFace(), CosFace(margin=0.40), CurricularFace()])
def test_logits_loss_and_state_equal_the_reference_over_its_steps(margin: Margin) -> None:
    for step in GOLDEN[type(margin).__name__]:
        logits = margin(cosines().float(), LABELS)
        torch.testing.assert_close(logits, torch.tensor(step["scaled_logits"]), rtol=1e-5, atol=1e-5)
        assert float(cross_entropy(logits, LABELS)) == pytest.approx(step["cross_entropy"], rel=1e-6)
        if step["t"] is not None:
            assert float(margin.get_buffer("t")) == pytest.approx(step["t"], rel=1e-5)


def expected_positive(margin: Margin, cosine: float, norm: float) -> Any:
    """Each paper's formula for one number, by way of the angle."""
    theta = math.acos(cosine)
    if isinstance(margin, CosFace):
        return cosine - 0.35
    if isinstance(margin, ArcFaceStraightThrough):
        return math.cos(theta + 0.5)
    if isinstance(margin, ArcFace):  # CurricularFace too
        return math.cos(theta + 0.5) if theta + 0.5 < math.pi else cosine - 0.5 * math.sin(0.5)
    if isinstance(margin, SphereFace):
        k = math.floor(4 * theta / math.pi)
        return (-1) ** k * math.cos(4 * theta) - 2 * k
    if isinstance(margin, AdaFace):
        z = max(-1.0, min(1.0, (norm - 20) / (100 + 1e-3) * 0.333))
        return math.cos(min(max(theta - 0.4 * z, 1e-3), math.pi - 1e-3)) - (0.4 + 0.4 * z)
    return cosine


@pytest.mark.parametrize("make", ALL)
def test_positives_follow_the_papers_formulas_over_the_whole_range(make: Callable[[], Margin]) -> None:
    margin = make().double().eval()
    column = torch.linspace(-0.998, 0.998, 41, dtype=torch.float64)
    length = torch.linspace(0.5, 90, 41, dtype=torch.float64)
    logits = margin(column.unsqueeze(1), torch.zeros(41, dtype=torch.int64), norms=length)
    expected = [
        64 * expected_positive(margin, float(c), float(n)) for c, n in zip(column, length, strict=True)
    ]
    torch.testing.assert_close(
        logits[:, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


def test_curricularface_weighs_hard_negatives_by_t_plus_cosine() -> None:
    margin = CurricularFace(scale=1.0).double().eval()
    margin.t.fill_(0.3)
    theta = math.acos(0.6)
    easy, hard = math.cos(theta + 0.5) - 0.01, math.cos(theta + 0.5) + 0.01
    logits = margin(torch.tensor([[0.6, easy, hard]], dtype=torch.float64), torch.tensor([0]))
    assert logits[0].tolist() == pytest.approx([math.cos(theta + 0.5), easy, hard * (0.3 + hard)])


def test_adaface_statistics_follow_the_norms_of_the_batch() -> None:
    margin = AdaFace().double()
    margin(cosines(), LABELS, norms=norms())
    assert float(margin.norm_mean) == pytest.approx(0.99 * 20 + 0.01 * float(norms().mean()))
    assert float(margin.norm_std) == pytest.approx(0.99 * 100 + 0.01 * float(norms().std(unbiased=True)))
    before = float(margin.norm_std)
    margin(cosines()[:1], LABELS[:1], norms=norms()[:1])  # one row has no deviation: not NaN
    assert float(margin.norm_std) == before


@pytest.mark.parametrize("make", [make for make in ALL if make is not ArcFaceStraightThrough])
def test_gradient_is_that_of_the_forward(make: Callable[[], Margin]) -> None:
    margin = make().double().eval()
    cosine = (0.95 * cosines()).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: margin(c, LABELS, norms=norms()), cosine)


def gradient_of_the_loss(margin: Margin, cosine: Tensor) -> Tensor:
    cosine = cosine.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(margin(cosine, LABELS), LABELS), cosine)
    return gradient


def test_arcface_has_the_gradient_of_its_formula_and_the_straight_through_one_that_of_arcface_torch() -> None:
    cosine = (0.95 * cosines()).clamp(-0.8, 0.95)  # theta + m below pi: the same value in both
    theta = cosine.acos()
    positive = torch.nn.functional.one_hot(LABELS, 20).bool()
    logits = 64 * torch.where(positive, (theta + 0.5).cos(), cosine)
    straight = 64 * (logits.softmax(1) - positive.double()) / 8  # d cross entropy / d logits, times s
    formula = straight * torch.where(positive, (theta + 0.5).sin() / theta.sin(), 1)

    torch.testing.assert_close(gradient_of_the_loss(ArcFace(), cosine), formula, rtol=1e-9, atol=1e-12)
    found = gradient_of_the_loss(ArcFaceStraightThrough(), cosine)
    torch.testing.assert_close(found, straight, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ArcFaceStraightThrough()(cosine, LABELS), ArcFace()(cosine, LABELS))


def test_arcface_torchs_value_rises_again_beyond_pi_and_ours_goes_on_falling() -> None:
    theta = torch.tensor([2.7, 2.9, 3.1], dtype=torch.float64)  # + 0.5: beyond pi
    cosine, labels = theta.cos().unsqueeze(1).requires_grad_(), torch.zeros(3, dtype=torch.int64)
    logits = ArcFaceStraightThrough()(cosine, labels)[:, 0]
    torch.testing.assert_close(logits, 64 * (theta + 0.5).cos())
    (gradient,) = torch.autograd.grad(logits.sum(), cosine)
    assert gradient.tolist() == [[64.0]] * 3
    ours = ArcFace()(cosine, labels)[:, 0]
    torch.testing.assert_close(ours, 64 * (theta.cos() - 0.5 * math.sin(0.5)))


def test_cosface_and_curricularface_have_the_gradients_of_public_code() -> None:
    cosine = (0.95 * cosines()).clamp(-0.8, 0.95)
    positive = torch.nn.functional.one_hot(LABELS, 20).bool()
    target = cosine[positive].unsqueeze(1)
    reference = cosine.clone().requires_grad_()
    logits = 64 * (reference - 0.4 * positive)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, LABELS), reference)
    found = gradient_of_the_loss(CosFace(margin=0.4), cosine)
    torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-15)

    # the negatives' derivative is t + 2 cos where they are hard; the positive's that of cos(theta + m)
    t = 0.01 * float(target.mean())
    theta_m = target.acos() + 0.5
    hard = (cosine > theta_m.cos()) & ~positive
    assert hard.any()
    logits = 64 * torch.where(positive, theta_m.cos(), torch.where(hard, cosine * (t + cosine), cosine))
    factor = torch.where(
        positive, theta_m.sin() / target.acos().sin(), torch.where(hard, t + 2 * cosine, 1.0)
    )
    expected = 64 * (logits.softmax(1) - positive.double()) / 8 * factor
    found = gradient_of_the_loss(CurricularFace().double(), cosine)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("make", ALL)
def test_split_columns_with_the_target_given_equal_all_columns(make: Callable[[], Margin]) -> None:
    whole, parts = make().double(), [make().double() for _ in range(3)]
    cosine = cosines().requires_grad_()
    target = cosine[torch.arange(8), LABELS]
    expected = whole(cosine, LABELS, norms=norms())
    found = []
    for margin, start, stop in zip(parts, (0, 13, 20), (13, 20, 20), strict=True):
        here = [start <= label < stop for label in LABELS.tolist()]
        labels = torch.where(torch.tensor(here), LABELS - start, -1)
        found.append(margin(cosine[:, start:stop], labels, target=target, norms=norms()))
        assert all(
            torch.equal(value, whole.get_buffer(name)) for name, value in margin.named_buffers()
        )  # the third part has no class at all
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=0, atol=0)
    weights = torch.randn(8, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (expected_gradient,) = torch.autograd.grad((expected * weights).sum(), cosine, retain_graph=True)
    (gradient,) = torch.autograd.grad((torch.cat(found, 1) * weights).sum(), cosine)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("make", ALL)
def test_input_is_not_written_to(make: Callable[[], Margin]) -> None:
    cosine, length, target = cosines(), norms(), cosines()[torch.arange(8), LABELS]
    make()(cosine, LABELS, target=target, norms=length)
    assert torch.equal(cosine, cosines())
    assert torch.equal(length, norms())
    assert torch.equal(target, cosines()[torch.arange(8), LABELS])


@pytest.mark.parametrize("make", ALL)
def test_eval_mode_is_a_pure_function_and_train_mode_moves_state_without_gradient(
    make: Callable[[], Margin],
) -> None:
    margin = make().eval()
    before = {name: value.clone() for name, value in margin.named_buffers()}
    first = margin(cosines(), LABELS, norms=norms())
    assert torch.equal(first, margin(cosines(), LABELS, norms=norms()))
    assert all(torch.equal(value, before[name]) for name, value in margin.named_buffers())
    margin.train()(cosines().requires_grad_(), LABELS, norms=norms())
    for name, value in margin.named_buffers():
        assert not torch.equal(value, before[name])
        assert not value.requires_grad


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_extreme_cosines_give_finite_logits_and_gradients(
    make: Callable[[], Margin], dtype: torch.dtype
) -> None:
    above = 1 + 2 * torch.finfo(dtype).eps  # what rounding makes of 1
    cosine = torch.tensor([[above, -above, 1.0], [-above, above, -1.0], [0, 1, -1]], dtype=dtype)
    cosine.requires_grad_()
    logits = make()(cosine, torch.tensor([0, 0, 2]), norms=torch.tensor([0.0, 1e6, 20.0]))
    assert logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    logits.logsumexp(1).sum().backward()
    assert cosine.grad is not None
    assert logits.isfinite().all()
    assert cosine.grad.isfinite().all()


@settings(max_examples=50)
@given(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from([CosFace, ArcFace, SphereFace, NormFace]))
def test_a_better_embedding_never_has_a_smaller_positive(a: float, b: float, kind: type[Margin]) -> None:
    pair = torch.tensor([[min(a, b)], [max(a, b)]], dtype=torch.float64)
    low, high = MARGINS[kind.__name__.lower()]()(pair, torch.tensor([0, 0])).flatten().tolist()
    assert low <= high + 1e-5
    assert high <= 64 * float(pair.max()) + 1e-5


def test_a_label_elsewhere_without_target_is_refused_where_it_would_be_wrong() -> None:
    labels = torch.tensor([3, -1])
    with pytest.raises(ValueError, match=r"-1.*another rank.*target="):
        CurricularFace()(torch.zeros(2, 5), labels)
    assert torch.equal(ArcFace()(torch.zeros(2, 5), labels)[1], torch.zeros(5))


def test_errors_name_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"AdaFace.*norms="):
        AdaFace()(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels of shape \[2, 1\].*view\(-1\)"):
        ArcFace()(torch.zeros(2, 5), torch.zeros(2, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"cosine of shape \[5\]"):
        ArcFace()(torch.zeros(5), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"scale -1.*positive"):
        ArcFace(scale=-1)
    with pytest.raises(ValueError, match=r"margin 0.5.*multiplies the angle"):
        SphereFace(margin=0.5)
    with pytest.raises(ValueError, match=r"margin 0.3.*NormFace has none"):
        NormFace(margin=0.3)
    with pytest.raises(ValueError, match=r"alpha 2"):
        CurricularFace(alpha=2)
