"""A frozen convolution gives what torch's gives, and keeps nothing of its input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from btnet.backbones.convolution import Convolution
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.method.btnet import BTNet

SHAPES = [  # channels in, out, kernel, stride, padding, groups, size
    (3, 5, 3, 1, 1, 1, 7),
    (4, 6, 3, 2, 1, 1, 8),
    (4, 6, 3, 2, 1, 1, 7),
    (4, 4, 1, 2, 0, 1, 8),
    (6, 6, 3, 2, 1, 6, 8),
    (6, 6, 5, 1, 0, 6, 5),
]


def pair(shape: tuple[int, ...]) -> tuple[Convolution, nn.Conv2d]:
    """Ours, frozen, and torch's with the same weight, which learns."""
    torch.manual_seed(0)
    channels_in, channels_out, kernel, stride, padding, groups, _ = shape
    plain = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
    ours = Convolution(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
    ours.load_state_dict(plain.state_dict())
    return ours.requires_grad_(False), plain


def gradient(layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    out = layer(x)
    out.backward(torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out))
    assert x.grad is not None
    return out.detach(), x.grad


@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_gradients_are_those_of_torch(shape: tuple[int, ...]) -> None:
    ours, plain = pair(shape)
    x = torch.randn(2, shape[0], shape[-1], shape[-1])
    for found, expected in zip(gradient(ours, x), gradient(plain, x), strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.autograd.gradcheck(ours.double(), x.double().requires_grad_())


def test_under_autocast_and_in_channels_last_too() -> None:
    ours, plain = pair(SHAPES[1])
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        results = [gradient(layer, x) for layer in (ours, plain)]
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        assert found.stride() == expected.stride()
        torch.testing.assert_close(found, expected)


def kept(network: nn.Module, x: Tensor) -> set[int]:
    """Addresses of what a forward pass keeps for the backward pass."""
    found: set[int] = set()

    def pack(tensor: Tensor) -> Tensor:
        found.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(x)
    return found


@pytest.mark.parametrize("kind", ["iresnet", "mobilefacenet"])
def test_a_branch_keeps_no_input_of_the_frozen_tail(kind: str) -> None:
    trunk = (
        IResNet([1, 1, 1, 1], widths=[4, 4, 4, 4], embedding_size=8)
        if kind == "iresnet"
        else MobileFaceNet(blocks=(1, 1, 1, 1), scale=1, embedding_size=8)
    )
    network = BTNet(trunk, [14]).network(14).train()
    inputs: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, args, _out, name=name: inputs.update({name: args[0]}))
    addresses = kept(network, torch.randn(2, 3, 14, 14))
    learnt = {name for name in inputs if network.get_submodule(name).weight.requires_grad}
    assert len(learnt) > 1
    assert all(inputs[name].data_ptr() in addresses for name in learnt)
    # inputs that an activation keeps as its own output, or a normalisation as its input, stay
    freed = [n for n in inputs if n not in learnt and inputs[n].data_ptr() not in addresses]
    assert len(freed) >= (len(inputs) - len(learnt)) // 2


def test_a_compiled_branch_learns_as_an_eager_one() -> None:
    torch.manual_seed(0)
    network = BTNet(IResNet([1, 1, 1, 1], widths=[4, 4, 4, 4], embedding_size=8), [14]).network(14).train()
    x = torch.randn(4, 3, 14, 14)
    found = []
    for run in (network, torch.compile(network, backend="aot_eager")):
        network.zero_grad()
        run(x).square().sum().backward()
        found.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, msg=name)
