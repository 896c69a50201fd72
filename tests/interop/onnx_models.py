"""Small models whose BatchNorms are not the identity, for tests of what leaves and enters through ONNX."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from btnet import BTNet
from btnet.backbones.backbone import Backbone
from btnet.backbones.iresnet import IResNet
from btnet.backbones.mobilefacenet import MobileFaceNet
from btnet.interop.onnx import build_graph


def iresnet(canonical_size: int = 32) -> IResNet:
    torch.manual_seed(0)
    return IResNet(
        (1, 2, 1, 1),
        widths=(8, 8, 12, 16),
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=24,
    )


def mobilefacenet(canonical_size: int = 32) -> MobileFaceNet:
    torch.manual_seed(0)
    return MobileFaceNet(
        blocks=(1, 2, 1, 1),
        scale=1,
        input_size=canonical_size,
        canonical_size=canonical_size,
        embedding_size=24,
    )


def trained(trunk: Backbone, faces: torch.Tensor) -> Backbone:
    """Statistics of these faces, weights and slopes of no particular value; in eval mode.

    Each BatchNorm's statistics are those of its inputs in eval mode, as a converged network has them. One pass
    in train mode would not do: it normalises by biased variances and keeps unbiased ones, so that in eval mode
    the next BatchNorm sees other inputs than its statistics say.
    """
    torch.manual_seed(0)
    hooks = []
    for module in trunk.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            hooks.append(module.register_forward_pre_hook(_take_statistics))
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.1, 0.4)
    if isinstance(trunk, IResNet):
        nn.init.ones_(trunk.features.weight)
    with torch.no_grad():
        trunk.eval()(faces)
    for hook in hooks:
        hook.remove()
    return trunk


@cache
def _exported(fold: bool) -> bytes:
    return bytes(build_graph(_trunk(), fold=fold).model.SerializeToString())


@cache
def _trunk() -> Backbone:
    return trained(iresnet(), torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1)


def exported_iresnet(*, fold: bool = False) -> tuple[Backbone, onnx.ModelProto]:
    """A trained network and its graph, to be changed at will: exporting takes seconds, and is done once."""
    return copy.deepcopy(_trunk()), onnx.ModelProto.FromString(_exported(fold))


def change_weight(model: onnx.ModelProto, name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Put another array in the place of an initialiser."""
    [tensor] = [each for each in model.graph.initializer if each.name == name]
    changed = np.ascontiguousarray(change(onnx.numpy_helper.to_array(tensor)))
    tensor.CopyFrom(onnx.numpy_helper.from_array(changed, name))


def with_branches(trunk: Backbone, *resolutions: int) -> BTNet:
    """Branches that learnt something: their own parameters moved, their statistics taken."""
    model = BTNet(trunk, resolutions, interpolation="area")
    with torch.no_grad():
        for r in resolutions:
            for parameter in model.learnt_parameters(r).values():
                parameter.mul_(1.1)
            model.network(r).train()(torch.rand(16, 3, r, r) * 2 - 1)
    return model.eval()


def _take_statistics(norm: nn.Module, args: tuple[Any, ...]) -> None:
    [x] = args
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    axes = [axis for axis in range(x.ndim) if axis != 1]
    norm.running_mean.copy_(x.mean(axes))
    norm.running_var.copy_(x.var(axes))
