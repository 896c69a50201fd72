from __future__ import annotations

import torch
from torch import Tensor

from btnet.backbones.iresnet import IResNet
from btnet.training.teacher import Answer, in_parts


def test_a_batch_in_parts_is_the_batch_and_no_map_is_larger_than_a_parts() -> None:
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 1), widths=(4, 4, 8, 8), canonical_size=32, embedding_size=8).eval()
    sizes: list[int] = []

    def answer(images: Tensor) -> Answer:
        sizes.append(len(images))
        embedding, features = network(images, taps=["layer1.0", "layer3.0"])
        return features, embedding

    images = torch.rand(19, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        features, embedding = in_parts(answer, images)
        expected, taps = network(images, taps=["layer1.0", "layer3.0"])
    assert sizes == [8, 8, 3]
    assert embedding is not None
    torch.testing.assert_close(embedding, expected, rtol=1e-4, atol=1e-4)
    for name, value in taps.items():
        torch.testing.assert_close(features[name], value, rtol=1e-4, atol=1e-4)


def test_without_an_embedding_there_is_none() -> None:
    _, embedding = in_parts(lambda images: ({"stem": images}, None), torch.zeros(9, 3, 4, 4))
    assert embedding is None
