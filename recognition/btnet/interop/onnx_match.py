"""Which backbone a foreign graph is: its units, matched from the embedding back to the images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from btnet.interop.onnx_graph import FLATTENING, Affine, Array, Convolution, OnnxGraph, Product

__all__ = ["Matched", "match"]

EPS: Final = 1e-5


@dataclass
class Matched:
    """A state dict in arcface_torch's keys, and what the file does not say.

    Attributes:
        state: of an IResNet or MobileFaceNet. Merged BatchNorms are the identity plus their bias.
        merged: names of the BatchNorms that are merged into what stands before them.
        slope: factor by which the file's nodes scale its input before the first convolution.
        zero: the input that becomes 0 there; convolutions pad with it.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)
    slope: float = 1.0
    zero: float = 0.0


class _Part(NamedTuple):
    """Convolution, BatchNorm unless merged, slopes unless linear."""

    conv: Convolution
    norm: Affine | None
    slopes: Array | None


def match(graph: OnnxGraph) -> Matched:
    """Match the whole graph.

    Raises:
        ValueError: naming the node where it is neither an IResNet nor a MobileFaceNet.
    """
    found = Matched()
    last_norm, tensor = graph.take_affine(graph.output)
    product = graph.take_product(tensor)
    if product is None:
        raise graph.refuse(tensor, "the embedding made by a Gemm or MatMul, a BatchNorm behind it or not")
    head, tensor = product
    while (before := graph.take(tensor, *FLATTENING)) is not None:
        tensor = before
    if graph.take_sum(graph.take_affine(tensor)[1]) is not None:
        return _iresnet(graph, found, last_norm, head, tensor)
    return _mobilefacenet(graph, found, last_norm, head, tensor)


def _iresnet(
    graph: OnnxGraph, found: Matched, last_norm: Affine | None, head: Product, tensor: str
) -> Matched:
    map_norm, tensor = graph.take_affine(tensor)
    units: list[tuple[Affine, _Part, _Part, _Part | None]] = []
    while graph.take_sum(tensor) is not None:
        *unit, tensor = _residual_unit(graph, tensor)
        units.insert(0, tuple(unit))  # type: ignore[arg-type]
    stem = _part(graph, tensor, slopes=True)
    if stem is None:
        raise graph.refuse(tensor, "a residual unit, or the stem's convolution, BatchNorm and PReLU")
    part, tensor = stem
    _read_scaling(graph, found, tensor)
    _put(found, part, "conv1", "bn1", "prelu")
    stage, index = 0, 0
    for norm, first, second, shortcut in units:
        stage, index = (stage + 1, 0) if second.conv.stride == 2 else (stage, index + 1)
        name = f"layer{stage}.{index}"
        _put_norm(found, f"{name}.bn1", norm, len(norm.weight), None)
        _put(found, first, f"{name}.conv1", f"{name}.bn2", f"{name}.prelu")
        _put(found, second, f"{name}.conv2", f"{name}.bn3", "")
        if shortcut is not None:
            _put(found, shortcut, f"{name}.downsample.0", f"{name}.downsample.1", "")
    _put_norm(found, "bn2", map_norm, units[-1][2].conv.weight.shape[0], None)
    size = len(head.weight)
    _set(found, "fc.weight", head.weight)
    # A BatchNorm merged into the product left its shift in the product's bias.
    bias = np.zeros(size, np.float32) if head.bias is None else head.bias
    _set(found, "fc.bias", bias if last_norm is not None else np.zeros_like(bias))
    _put_norm(found, "features", last_norm, size, None if last_norm is not None else bias)
    return found


def _residual_unit(graph: OnnxGraph, tensor: str) -> tuple[Affine, _Part, _Part, _Part | None, str]:
    summands = graph.take_sum(tensor)
    assert summands is not None
    for main, other in (summands, summands[::-1]):
        second = _part(graph, main, slopes=False)
        first = None if second is None else _part(graph, second[1], slopes=True)
        if second is None or first is None or second[0].conv.weight.shape[-1] == 1:
            continue  # a 1 x 1 convolution is the shortcut's
        norm, source = graph.take_affine(first[1])
        if norm is None:
            raise graph.refuse(first[1], "a BatchNorm before the residual unit's first convolution")
        if graph.same(other, source):
            return norm, first[0], second[0], None, source
        shortcut = _part(graph, other, slopes=False)
        if shortcut is not None and graph.same(shortcut[1], source):
            return norm, first[0], second[0], shortcut[0], source
    raise graph.refuse(tensor, "a residual unit (BatchNorm, convolution, PReLU, convolution, sum)")


def _mobilefacenet(
    graph: OnnxGraph, found: Matched, last_norm: Affine | None, head: Product, tensor: str
) -> Matched:
    whole = _part(graph, tensor, slopes=False)
    separable = None if whole is None else _part(graph, whole[1], slopes=True)
    if whole is None or separable is None or whole[0].conv.groups != whole[0].conv.weight.shape[0]:
        raise graph.refuse(tensor, "a residual sum or a global depth-wise convolution before the embedding")
    tensor = separable[1]
    units: list[tuple[bool, list[_Part]]] = []  # residual, parts
    while (unit := _mobile_unit(graph, tensor)) is not None:
        residual, parts, tensor = unit
        units.insert(0, (residual, parts))
    if not units or len(units[0][1]) != 1:
        raise graph.refuse(tensor, "a MobileFaceNet's first convolution")
    _read_scaling(graph, found, tensor)
    stage, index = -1, 0
    for number, (residual, parts) in enumerate(units):
        if residual:
            name, index = f"layers.{2 * stage + 1}.layers.{index}", index + 1
        elif number == 1 and len(parts) == 1:
            name = "layers.1"
        else:
            stage, index = stage + 1, 0
            name = f"layers.{2 * stage}"
        for i, part in enumerate(parts):
            _put_layers(found, part, name if len(parts) == 1 else f"{name}.layers.{i}")
    _put_layers(found, separable[0], "conv_sep")
    _put_layers(found, whole[0], "features.layers.0")
    _set(found, "features.layers.2.weight", head.weight)
    _put_norm(found, "features.layers.3", last_norm, len(head.weight), head.bias)
    return found


def _mobile_unit(graph: OnnxGraph, tensor: str) -> tuple[bool, list[_Part], str] | None:
    summands = graph.take_sum(tensor)
    if summands is not None:
        for main, other in (summands, summands[::-1]):
            unit = _depth_wise(graph, main)
            if unit is not None and graph.same(unit[1], other):
                return True, unit[0], unit[1]
        raise graph.refuse(tensor, "a residual depth-wise unit")
    single = _part(graph, tensor, slopes=True)
    if single is not None:
        return False, [single[0]], single[1]
    unit = _depth_wise(graph, tensor)
    return None if unit is None else (False, *unit)


def _depth_wise(graph: OnnxGraph, tensor: str) -> tuple[list[_Part], str] | None:
    parts: list[_Part] = []
    for slopes in (False, True, True):
        taken = _part(graph, tensor, slopes=slopes)
        if taken is None:
            return None
        parts.insert(0, taken[0])
        tensor = taken[1]
    return parts, tensor


def _part(graph: OnnxGraph, tensor: str, *, slopes: bool) -> tuple[_Part, str] | None:
    taken = graph.take_slopes(tensor) if slopes else (None, tensor)
    if taken is None:
        return None
    norm, tensor = graph.take_affine(taken[1])
    conv = graph.take_convolution(tensor)
    return None if conv is None else (_Part(conv[0], norm, taken[0]), conv[1])


def _read_scaling(graph: OnnxGraph, found: Matched, tensor: str) -> None:
    """The nodes before the first convolution, as one product and one difference."""
    steps: list[tuple[str, float]] = []
    while (taken := graph.take_scaling(tensor)) is not None:
        *step, tensor = taken
        steps.insert(0, tuple(step))  # type: ignore[arg-type]
    if not graph.is_input(tensor):
        raise graph.refuse(tensor, "the images")
    apply: dict[str, Callable[[float, float], float]] = {
        "Sub": lambda x, c: x - c, "Add": lambda x, c: x + c, "Mul": lambda x, c: x * c, "Div": lambda x, c: x / c,
    }  # fmt: skip

    def scaled(x: float) -> float:
        for kind, constant in steps:
            x = apply[kind](x, constant)
        return x

    found.slope = scaled(1.0) - scaled(0.0)
    found.zero = -scaled(0.0) / found.slope


def _put_layers(found: Matched, part: _Part, name: str) -> None:
    _put(found, part, f"{name}.layers.0", f"{name}.layers.1", f"{name}.layers.2")


def _put(found: Matched, part: _Part, conv: str, norm: str, slopes: str) -> None:
    num_channels = part.conv.weight.shape[0]
    _set(found, f"{conv}.weight", part.conv.weight)
    _put_norm(found, norm, part.norm, num_channels, part.conv.bias)
    if part.slopes is not None:
        _set(found, f"{slopes}.weight", np.broadcast_to(part.slopes, (num_channels,)))


def _put_norm(found: Matched, name: str, norm: Affine | None, num_channels: int, bias: Array | None) -> None:
    """A BatchNorm behind something that has this bias in the file and none in our networks."""
    shift = np.zeros(num_channels, np.float32) if bias is None else bias
    if norm is None:
        found.merged.append(name)
        one, zero = np.ones(num_channels, np.float32), np.zeros(num_channels, np.float32)
        norm, shift = Affine(one, shift, zero, one - np.float32(EPS), EPS), zero
    # another epsilon moves into the weight: the statistics stay what they are
    rescale = np.sqrt(
        (norm.running_var.astype(np.float64) + EPS) / (norm.running_var.astype(np.float64) + norm.eps)
    )
    _set(found, f"{name}.weight", norm.weight * rescale)
    _set(found, f"{name}.bias", norm.bias)
    _set(found, f"{name}.running_mean", norm.running_mean - shift)
    _set(found, f"{name}.running_var", norm.running_var)
    found.state[f"{name}.num_batches_tracked"] = torch.tensor(0)


def _set(found: Matched, key: str, value: Array) -> None:
    found.state[key] = torch.from_numpy(np.array(value, np.float32))
