from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone, initialise
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.backbones.state import fingerprint
from btnet.method.btnet import BTNet
from btnet.method.coupling import Unit, coupling_index, pyramid, strides_at


def small(**kwargs: object) -> IResNet:
    return IResNet([1, 2, 1, 1], widths=[4, 8, 8, 8], embedding_size=16, **kwargs)  # type: ignore[arg-type]


def moved(network: nn.Module, seed: int = 1) -> nn.Module:
    """Values that no initialisation gives."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.1)
    return network


def faces(size: int, count: int = 4) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(size)) * 2 - 1


@pytest.fixture
def model() -> BTNet:
    trunk = small()
    moved(trunk)
    return BTNet(trunk, [28, 14, 7])


class Plain(Backbone):
    """A third backbone: nothing else in the package knows it."""

    def __init__(self, *, canonical_size: int = 32, input_size: int | None = None, embedding_size: int = 8):
        super().__init__()
        self.arch = {"canonical_size": canonical_size, "embedding_size": embedding_size}
        self.canonical_size, self.embedding_size = canonical_size, embedding_size
        self.input_size = canonical_size if input_size is None else input_size
        first, second = strides_at([2, 2, 1], canonical_size, self.input_size)[:2]
        self.down1 = nn.Sequential(nn.Conv2d(3, 4, 3, first, 1, bias=False), nn.BatchNorm2d(4))
        self.down2 = nn.Sequential(nn.Conv2d(4, 4, 3, second, 1, bias=False), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(4 * (canonical_size // 4) ** 2, embedding_size))
        initialise(self)

    def units(self) -> list[Unit]:
        return [Unit("down1", 2, ("down1",)), Unit("down2", 2, ("down2",)), Unit("head", 1, ("head",))]


def test_a_third_backbone_needs_no_edit_elsewhere(tmp_path: Path) -> None:
    from btnet_lab.analysis.cost import count_flops

    model = BTNet(Plain(), [16, 8])
    assert model(faces(8)).shape == (4, 8)
    assert model.trunk.coupling_layer(8) == "down2"
    overlay = model.overlay(16)
    assert "down1.0.weight" in overlay.tensors
    assert "down2.0.weight" not in overlay.tensors
    overlay.save(tmp_path / "o.safetensors")
    model.load_overlay(type(overlay).load(tmp_path / "o.safetensors"))
    head = 2 * 4 * 8 * 8 * 8
    assert count_flops(model.network(8)) == 2 * 27 * 4 * 64 + 2 * 36 * 4 * 64 + head


def test_the_trunk_stays_in_eval_mode_and_its_statistics_do_not_move(model: BTNet) -> None:
    before = fingerprint(model.trunk.state_dict())
    model.train()
    model(faces(14))
    model(faces(112))
    assert not any(module.training for module in model.trunk.modules())
    assert fingerprint(model.trunk.state_dict()) == before


def test_training_a_branch_moves_only_what_it_owns(model: BTNet) -> None:
    trunk = {k: v.clone() for k, v in model.trunk.state_dict().items()}
    other = {k: v.clone() for k, v in model.owned(28).items()}
    optimizer = torch.optim.SGD(model.learnt_parameters(14).values(), lr=0.1)
    model.train()
    model(faces(14)).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(v, trunk[k]) for k, v in model.trunk.state_dict().items())
    assert all(torch.equal(v, other[k]) for k, v in model.owned(28).items())
    assert not torch.equal(model.owned(14)["conv1.weight"], trunk["conv1.weight"])
    assert all(p.grad is None for p in model.trunk.parameters())


def test_learnt_parameters_of_both_definitions(model: BTNet) -> None:
    paper, authors = model.learnt_parameters(14), model.learnt_parameters(14, "authors")
    left_out = set(paper) - set(authors)
    assert left_out == {
        "layer4.0.downsample.1.weight",
        "layer4.0.downsample.1.bias",
        "features.bias",
    }
    assert "layer2.0.downsample.1.weight" in authors
    assert "features.weight" not in paper
    with pytest.raises(ValueError, match="paper, authors"):
        model.learnt_parameters(14, "mine")


def test_state_dict_holds_each_tensor_once_and_comes_back(model: BTNet) -> None:
    state = model.state_dict()
    assert len({v.data_ptr() for v in state.values()}) == len(state)
    assert "networks.14.fc.weight" not in state
    other = BTNet(small(), [28, 14, 7])
    other.load_state_dict(state)
    for size in (112, 28, 14, 7):
        assert torch.equal(other.eval()(faces(size)), model.eval()(faces(size)))
    assert other.network(14).get_parameter("fc.weight") is other.trunk.get_parameter("fc.weight")


@pytest.mark.parametrize("move", [lambda m: m.double(), lambda m: m.to(torch.bfloat16), copy.deepcopy])
def test_sharing_survives_moves_and_copies(model: BTNet, move: object) -> None:
    moved_model = move(model)  # type: ignore[operator]
    for r in moved_model.resolutions:
        network = moved_model.network(r)
        for key in network.shared_parameters(moved_model.tail_from[r]):
            assert network.get_parameter(key) is moved_model.trunk.get_parameter(key)
    if moved_model is not model:
        assert moved_model.trunk.get_parameter("fc.weight") is not model.trunk.get_parameter("fc.weight")


def test_one_network_does_not_move_alone(model: BTNet) -> None:
    with pytest.raises(RuntimeError, match="detached"):
        model.network(14).half()
    alone = model.detached(14).half()
    assert alone.get_parameter("fc.weight").dtype == torch.float16
    assert model.trunk.get_parameter("fc.weight").dtype == torch.float32


def test_a_bn_set_can_be_taken_and_put(model: BTNet) -> None:
    before = model.eval()(faces(14))
    taken = model.bn_set(14)
    model.load_bn_set(14, {k: v + 1 for k, v in taken.items()})
    assert not torch.equal(model(faces(14)), before)
    model.load_bn_set(14, taken)
    assert torch.equal(model(faces(14)), before)
    with pytest.raises(ValueError, match="frozen"):
        model.load_bn_set(112, taken)
    with pytest.raises(ValueError, match=r"missing bn1\.weight"):
        model.load_bn_set(14, {})


def test_the_tail_may_start_at_any_unit() -> None:
    units = [unit.name for unit in small().units()]
    inputs = faces(14)
    sizes = []
    for name in units[1:]:
        trunk = small()
        moved(trunk)
        model = BTNet(trunk, [14], tail_from=name).eval()
        sizes.append(model.overlay(14).num_stored)
        # a fresh branch computes the same wherever its tail starts
        assert torch.equal(model(inputs), BTNet(trunk, [14]).eval()(inputs))
    assert sizes == sorted(sizes)
    with pytest.raises(ValueError, match=r"layer9.*stem"):
        BTNet(small(), [14], tail_from="layer9")


def test_a_foreign_trunk_shares_its_memory() -> None:
    class Foreign(nn.Module):
        """What arcface_torch's class looks like from outside: the same keys, another type."""

        def __init__(self) -> None:
            super().__init__()
            for name, child in small().named_children():
                self.add_module(name, child)

    foreign = Foreign()
    model = BTNet(foreign, [14])
    assert model.trunk.get_parameter("fc.weight").data_ptr() == foreign.get_parameter("fc.weight").data_ptr()
    assert model(faces(14)).shape == (4, 16)


def test_compiling_the_networks_makes_one_graph_each(model: BTNet) -> None:
    from torch._dynamo.testing import CompileCounter

    torch.compiler.reset()
    counter = CompileCounter()
    for size in (28, 14, 7):
        compiled = torch.compile(model.network(size), backend=counter, fullgraph=True)
        compiled(faces(size))
        compiled(faces(size))
    assert counter.frame_count == 3
    torch.compiler.reset()


@pytest.mark.parametrize("make", [small, lambda: MobileFaceNet(embedding_size=16, scale=1)])
def test_gradient_checkpointing_changes_memory_only(make: object) -> None:
    states, gradients = [], []
    for enabled in (False, True):
        torch.manual_seed(0)
        network = make()  # type: ignore[operator]
        network.gradient_checkpointing = enabled
        network.train()(faces(112)).square().mean().backward()
        states.append(network.state_dict())
        gradients.append([p.grad for p in network.parameters() if p.requires_grad])
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)


def test_a_compiled_network_with_gradient_checkpointing_learns_the_same_in_less_memory() -> None:
    kept, found = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        network = IResNet((1, 1, 1, 1), widths=(8, 8, 8, 8), canonical_size=32, embedding_size=8).train()
        network.gradient_checkpointing = checkpointing
        run = torch.compile(network, backend="aot_eager", fullgraph=True) if checkpointing else network
        x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            embedding, taps = run(x, taps=("layer2.0",))
        (embedding.square().mean() + taps["layer2.0"].square().mean()).backward()
        gradients = {f"d {key}": p.grad for key, p in network.named_parameters() if p.requires_grad}
        kept.append(sum(sizes))
        found.append({**network.state_dict(), **gradients})
    torch.testing.assert_close(
        found[1], found[0]
    )  # statistics are moved once, not again by the recomputation
    assert kept[1] < kept[0] / 2
    torch.compiler.reset()


def test_a_size_without_branch_is_refused(model: BTNet) -> None:
    with pytest.raises(ValueError, match=r"no branch for 20 px.*112, 28, 14, 7"):
        model(faces(20))
    with pytest.raises(ValueError, match=r"\[4, 3, 14, 28\]"):
        model(torch.zeros(4, 3, 14, 28))
    with pytest.raises(ValueError, match=r"resolution 20 px.*56, 28, 14, 7"):
        BTNet(small(), [20])


@given(
    strides=st.lists(st.sampled_from([1, 1, 2]), min_size=1, max_size=12).filter(lambda s: 2 in s),
    factor=st.integers(1, 9),
)
def test_every_size_of_the_pyramid_meets_the_trunk_at_its_coupling_layer(
    strides: list[int], factor: int
) -> None:
    canonical = factor * 2 ** strides.count(2)
    for size in pyramid(strides, canonical):
        at = strides_at(strides, canonical, size)
        where = coupling_index(strides, canonical, size)

        def output(steps: list[int], start: int) -> int:
            for stride in steps:
                start //= stride
            return start

        assert output(at[: where + 1], size) == size == output(strides[: where + 1], canonical)
        assert at[where + 1 :] == strides[where + 1 :]
