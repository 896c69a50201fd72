from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from btnet.loss import build_prototypes


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 6, generator=generator), torch.arange(20) % 4


def test_prototypes_are_normalised_means_of_normalised_embeddings() -> None:
    torch.manual_seed(0)
    network = nn.Linear(6, 5)
    images, labels = data()
    batches = [(images[i : i + 7], labels[i : i + 7]) for i in (0, 7, 14)]
    found = build_prototypes(network, batches, 4, 5, "cpu")
    embeddings = normalize(network(images).detach())
    expected = torch.stack([normalize(embeddings[labels == label].mean(0), dim=0) for label in range(4)])
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_the_length_of_an_embedding_does_not_count() -> None:
    images, labels = data()
    scaled = images * torch.linspace(0.1, 9, 20).unsqueeze(1)
    torch.testing.assert_close(
        build_prototypes(nn.Identity(), [(scaled, labels)], 4, 6, "cpu"),
        build_prototypes(nn.Identity(), [(images, labels)], 4, 6, "cpu"),
    )


def test_a_class_without_an_image_is_named() -> None:
    with pytest.raises(ValueError, match=r"5 of 9 classes without an image \(labels 4, 5, 6, 7, 8\)"):
        build_prototypes(nn.Identity(), [data()], 9, 6, "cpu")
    with pytest.raises(ValueError, match=r"16 of 20 .*labels 4, 5, 6, 7, 8, \.\.\."):
        build_prototypes(nn.Identity(), [data()], 20, 6, "cpu")


def test_a_class_without_direction_is_named() -> None:
    images, labels = data()
    images[2] = float("nan")
    with pytest.raises(ValueError, match=r"1 of 4 classes whose mean.*\(labels 2\)"):
        build_prototypes(nn.Identity(), [(images, labels)], 4, 6, "cpu")
    with pytest.raises(ValueError, match=r"no direction"):
        build_prototypes(nn.Identity(), [(torch.tensor([[1.0], [-1.0]]), torch.tensor([0, 0]))], 1, 1, "cpu")


def test_wrong_labels_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label 3 is out of range: there are 3 classes"):
        build_prototypes(nn.Identity(), [data()], 3, 6, "cpu")
    with pytest.raises(ValueError, match=r"\[20, 6\] for 20 images: expected \[20, 512\]"):
        build_prototypes(nn.Identity(), [data()], 4, 512, "cpu")
