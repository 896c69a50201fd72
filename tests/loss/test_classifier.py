"""The classifier in one process; several ranks are in tests/distributed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from btnet.loss import MARGINS, ArcFace, CurricularFace, ShardedClassifier, shard_range
from btnet.loss.centres import initial_centres, sampled_classes


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = 20 * torch.randn(6, 8, dtype=torch.float64, generator=generator).to(dtype)
    return embeddings.requires_grad_(), torch.tensor([3, 0, 10, 3, 7, 5])


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("frozen", [False, True])
def test_loss_and_gradients_equal_torchs_cross_entropy_over_all_classes(name: str, frozen: bool) -> None:
    classifier = ShardedClassifier(MARGINS[name](), 11, 8, frozen=frozen).double()
    margin = MARGINS[name]().double()
    embeddings, labels = batch()
    loss = classifier(embeddings, labels)
    loss.backward()
    assert embeddings.grad is not None

    plain = embeddings.detach().clone().requires_grad_()
    weight = classifier.weight.detach().clone().requires_grad_()
    cosine = normalize(plain) @ (weight if frozen else normalize(weight)).T
    expected = cross_entropy(margin(cosine, labels, norms=plain.detach().norm(dim=1)), labels)
    torch.autograd.backward(expected)
    assert plain.grad is not None
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(embeddings.grad, plain.grad, rtol=1e-10, atol=1e-12)
    if frozen:
        assert classifier.weight.grad is None
    else:
        torch.testing.assert_close(classifier.weight.grad, weight.grad, rtol=1e-10, atol=1e-12)


def test_gradient_is_that_of_the_forward() -> None:
    classifier = ShardedClassifier(CurricularFace(scale=8.0), 11, 8).double().eval()
    torch.nn.init.normal_(classifier.weight)
    embeddings, labels = batch()
    assert torch.autograd.gradcheck(
        lambda e, w: torch.func.functional_call(classifier, {"weight": w}, (e, labels)),
        (embeddings.detach().div(20).requires_grad_(), classifier.weight.detach().clone().requires_grad_()),
    )


def test_frozen_centres_are_normalised_once_and_have_no_graph() -> None:
    classifier = ShardedClassifier(ArcFace(), 11, 8, frozen=True)
    full = torch.randn(11, 8)
    classifier.load_full_weight(full)
    torch.testing.assert_close(classifier.weight.detach(), normalize(full))
    assert not classifier.weight.requires_grad
    embeddings, labels = batch(torch.float32)
    assert not classifier(embeddings.detach(), labels).requires_grad
    before = classifier.weight.clone()
    classifier.load_state_dict(classifier.state_dict())  # a resume must not move last bits
    assert torch.equal(classifier.weight, before)


def test_logits_are_full_precision_under_autocast() -> None:
    classifier = ShardedClassifier(ArcFace(), 11, 8)
    embeddings, labels = batch(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = classifier(embeddings, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, classifier(embeddings, labels))
    half = classifier(embeddings.bfloat16(), labels)
    assert half.dtype == torch.float32
    half.backward()


def test_state_dict_holds_margin_state_and_sampling_step_and_resumes_them() -> None:
    torch.manual_seed(0)
    first = ShardedClassifier(CurricularFace(), 50, 8, sample_rate=0.3, seed=4)
    embeddings, labels = batch(torch.float32)
    for _ in range(3):
        first(embeddings, labels)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    assert set(state) == {"weight", "step", "margin.t"}
    assert int(state["step"]) == 3
    second = ShardedClassifier(CurricularFace(), 50, 8, sample_rate=0.3, seed=4)
    second.load_state_dict(state)
    assert torch.equal(first(embeddings, labels), second(embeddings, labels))
    assert first.sampled is not None
    assert second.sampled is not None
    assert torch.equal(first.sampled, second.sampled)


def test_only_sampled_centres_receive_a_gradient_and_eval_mode_takes_all() -> None:
    classifier = ShardedClassifier(ArcFace(), 100, 8, sample_rate=0.25)
    embeddings, labels = batch(torch.float32)
    classifier(embeddings, labels).backward()
    assert classifier.sampled is not None
    assert classifier.weight.grad is not None
    gradient = classifier.weight.grad
    assert gradient.is_sparse
    assert gradient.coalesce().values().shape == (25, 8)  # nothing of the size of all centres
    touched = gradient.to_dense().abs().sum(1).nonzero().flatten()
    assert torch.equal(touched, classifier.sampled)
    classifier.eval()(embeddings, labels)
    assert int(classifier.step) == 1
    assert getattr(classifier, "sampled") is None  # noqa: B009 - mypy remembers the assert above


@settings(max_examples=60)
@given(
    st.integers(1, 200), st.floats(0.01, 1), st.lists(st.integers(0, 10**6), min_size=1), st.integers(0, 9)
)
def test_sample_holds_all_positives_and_the_asked_share(
    num_classes: int, rate: float, drawn: list[int], step: int
) -> None:
    labels = torch.tensor(drawn) % num_classes
    kept = sampled_classes(labels, num_classes, rate, 1, step)
    assert set(labels.tolist()) <= set(kept.tolist())
    assert len(kept) == max(math.ceil(rate * num_classes), len(set(labels.tolist())))
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert torch.equal(kept, sampled_classes(labels.flip(0), num_classes, rate, 1, step))


def test_negatives_are_drawn_evenly_and_anew_at_each_step() -> None:
    counts = torch.zeros(1000)
    for step in range(400):
        counts[sampled_classes(torch.tensor([0]), 1000, 0.1, 7, step)] += 1
    assert float(counts[1:].mean()) == pytest.approx(40, rel=0.01)
    # binomial: 400 draws at 0.1 have a standard deviation of 6
    assert float(counts[1:].std()) == pytest.approx(6, rel=0.1)
    assert float((counts[1:] - 40).abs().max()) < 36


@given(st.integers(1, 3000), st.integers(1, 9))
def test_shards_are_contiguous_cover_all_classes_and_lie_as_torch_chunks_them(
    classes: int, world: int
) -> None:
    ranges = [shard_range(classes, rank, world) for rank in range(world)]
    assert [i for start, stop in ranges for i in range(start, stop)] == list(range(classes))
    chunks = [len(chunk) for chunk in torch.arange(classes).chunk(world)]
    assert [stop - start for start, stop in ranges if stop > start] == chunks


def test_initial_centres_do_not_depend_on_who_holds_them() -> None:
    whole = initial_centres(0, 3000, 4, seed=1)
    assert torch.equal(
        torch.cat([initial_centres(*shard_range(3000, r, 7), 4, seed=1) for r in range(7)]), whole
    )
    assert float(whole.std()) == pytest.approx(0.01, rel=0.05)
    assert not torch.equal(whole, initial_centres(0, 3000, 4, seed=2))


def test_a_classifier_on_the_meta_device_allocates_nothing() -> None:
    classifier = ShardedClassifier(ArcFace(), 2_000_000, 512, device="meta")
    assert classifier.weight.is_meta
    assert classifier.weight.numel() == 2_000_000 * 512


@pytest.mark.parametrize("label", [-1, 11])
def test_a_label_out_of_range_is_named(label: int) -> None:
    embeddings, labels = batch()
    labels[2] = label
    with pytest.raises(ValueError, match=rf"label {label} .*num_classes 11"):
        ShardedClassifier(ArcFace(), 11, 8)(embeddings, labels)


def test_errors_name_value_and_remedy() -> None:
    embeddings, labels = batch()
    classifier = ShardedClassifier(ArcFace(), 11, 8)
    with pytest.raises(ValueError, match=r"\[6, 8\].*\[5\].*expected \[B, 8\]"):
        classifier(embeddings, labels[:5])
    with pytest.raises(ValueError, match=r"B at least 1"):
        classifier(embeddings[:0], labels[:0])
    with pytest.raises(ValueError, match=r"\[12, 8\].*11 classes.*same training set"):
        classifier.load_full_weight(torch.zeros(12, 8))
    with pytest.raises(ValueError, match=r"sample_rate 0.*\(0, 1\]"):
        ShardedClassifier(ArcFace(), 11, 8, sample_rate=0)
    with pytest.raises(ValueError, match=r"num_classes 0"):
        ShardedClassifier(ArcFace(), 0, 8)
