import pytest
import torch
from torch import Tensor

from btnet import BTNet, iresnet18, iresnet50, mobilefacenet
from goldens import fill, images, load


def relative(found: Tensor, expected: list[list[float]]) -> float:
    target = torch.tensor(expected)
    return float((found - target).abs().max() / target.abs().max())


@pytest.mark.parametrize("size", [112, 56, 28, 14, 7])
def test_iresnet18_answers_as_the_reference(size: int) -> None:
    golden = load("iresnet18.json")
    network = iresnet18(input_size=size)
    fill(network)
    with torch.inference_mode():
        found = network.eval()(images(size))
    section = golden["trunk"]["embedding_112"] if size == 112 else golden[f"authors_{size}"]["embedding"]
    assert relative(found, section) < 1e-4


@pytest.mark.parametrize("size", [112, 56, 28, 14, 7])
def test_mobilefacenet_answers_as_the_reference(size: int) -> None:
    golden = load("mobilefacenet.json")["mbf"]
    network = mobilefacenet(input_size=size)
    fill(network, golden["gain"])
    with torch.inference_mode():
        found = network.eval()(images(size))
    assert relative(found, golden[f"embedding_{size}"]) < 1e-4


def test_state_dicts_have_the_reference_names_and_shapes() -> None:
    for network, expected in (
        (iresnet18(), load("iresnet18.json")["trunk"]),
        (mobilefacenet(), load("mobilefacenet.json")["mbf"]),
    ):
        found = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert list(found.items()) == list(expected["state_dict"].items())
        assert sum(p.numel() for p in network.parameters()) == expected["params"]


def test_branches_of_iresnet50_learn_what_the_paper_counts() -> None:
    model = BTNet(iresnet50(), (28, 14, 7))
    counts = {r: sum(p.numel() for p in model.learnt_parameters(r).values()) for r in model.resolutions}
    assert counts == {28: 490176, 14: 2293056, 7: 21302336}


def test_the_trunk_does_not_move_in_train_mode_and_a_size_without_branch_is_refused() -> None:
    model = BTNet(iresnet18(), (14,)).train()
    before = {key: value.clone() for key, value in model.trunk.state_dict().items()}
    model(torch.randn(2, 3, 14, 14)).sum().backward()
    model(torch.randn(2, 3, 112, 112))
    assert all(torch.equal(before[key], value) for key, value in model.trunk.state_dict().items())
    assert all(p.grad is None for p in model.trunk.parameters())
    assert all(p.grad is not None for p in model.learnt_parameters(14).values())
    with pytest.raises(ValueError, match="no branch for 20 px"):
        model(torch.randn(2, 3, 20, 20))
