"""Which backbone a foreign graph's layers are: its state dict in arcface_torch's keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from btnet.interop.onnx_graph import Affine, Array, Layer, OnnxGraph

__all__ = ["Matched", "match"]

EPS: Final = 1e-5


@dataclass
class Matched:
    """A state dict in arcface_torch's keys.

    Attributes:
        state: of an IResNet or MobileFaceNet. Merged BatchNorms are the identity plus their bias.
        merged: names of the BatchNorms that are merged into what stands before them.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    merged: list[str] = field(default_factory=list)

    def put(self, key: str, value: Array) -> None:
        """A tensor of the state dict, in float32."""
        self.state[key] = torch.from_numpy(np.array(value, np.float32))

    def put_norm(self, name: str, norm: Affine | None, size: int, bias: Array | None) -> None:
        """A BatchNorm of `size` channels behind a layer that has this bias in the file and none in our networks."""
        shift = np.zeros(size, np.float32) if bias is None else bias
        if norm is None:
            self.merged.append(name)
            one, zero = np.ones(size, np.float32), np.zeros(size, np.float32)
            norm, shift = Affine(one, shift, zero, one - np.float32(EPS), EPS), zero
        # another epsilon moves into the weight: the statistics stay what they are
        variance = norm.running_var.astype(np.float64)
        self.put(f"{name}.weight", norm.weight * np.sqrt((variance + EPS) / (variance + norm.eps)))
        self.put(f"{name}.bias", norm.bias)
        self.put(f"{name}.running_mean", norm.running_mean - shift)
        self.put(f"{name}.running_var", norm.running_var)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(0)

    def put_layer(self, layer: Layer, conv: str, norm: str, slopes: str) -> None:
        """A convolution, its BatchNorm and, where it has them, its slopes."""
        size = len(layer.weight)
        self.put(f"{conv}.weight", layer.weight)
        self.put_norm(norm, layer.norm, size, layer.bias)
        if layer.slopes is not None:
            self.put(f"{slopes}.weight", np.broadcast_to(layer.slopes, (size,)))


def match(graph: OnnxGraph) -> Matched:
    """Name the layers; whether they are connected as ours is seen in the embeddings (`btnet.interop.onnx_trunk`).

    Raises:
        ValueError: if the layers are those of neither an IResNet nor a MobileFaceNet.
    """
    assert graph.product is not None
    found = Matched()
    # Of the two, only an IResNet has BatchNorms that follow no convolution.
    (_iresnet if graph.norms else _mobilefacenet)(graph, found, graph.product)
    return found


def _iresnet(graph: OnnxGraph, found: Matched, product: Array) -> None:
    # Only shortcuts have kernels of 1, and only where a stage begins, which strides.
    layers = [layer for layer in graph.layers if layer.weight.shape[-1] != 1]
    shortcuts = [layer for layer in graph.layers if layer.weight.shape[-1] == 1]
    units = list(zip(layers[1::2], layers[2::2], strict=False))
    num_starts = sum(second.stride == 2 for _, second in units)
    norms = [*graph.norms, None][: len(units) + 1]
    if not units or len(layers) != 1 + 2 * len(units) or not 0 <= len(graph.norms) - len(units) <= 1:
        raise graph.refuse(f"{len(layers)} convolutions and {len(graph.norms)} BatchNorms that follow none")
    if len(shortcuts) != num_starts:
        raise graph.refuse(f"{len(shortcuts)} shortcut convolutions for {num_starts} units that stride")
    found.put_layer(layers[0], "conv1", "bn1", "prelu")
    stage, index = 0, 0
    for norm, (first, second) in zip(norms, units, strict=False):
        stage, index = (stage + 1, 0) if second.stride == 2 else (stage, index + 1)
        name = f"layer{stage}.{index}"
        found.put_norm(f"{name}.bn1", norm, first.weight.shape[1], None)
        found.put_layer(first, f"{name}.conv1", f"{name}.bn2", f"{name}.prelu")
        found.put_layer(second, f"{name}.conv2", f"{name}.bn3", "")
        if second.stride == 2:
            found.put_layer(shortcuts[stage - 1], f"{name}.downsample.0", f"{name}.downsample.1", "")
    found.put_norm("bn2", norms[-1], len(units[-1][1].weight), None)
    found.put("fc.weight", product)
    # A BatchNorm merged into the product left its shift in the product's bias.
    bias = np.zeros(len(product), np.float32) if graph.product_bias is None else graph.product_bias
    has_norm = graph.last_norm is not None
    found.put("fc.bias", bias if has_norm else np.zeros_like(bias))
    found.put_norm("features", graph.last_norm, len(product), None if has_norm else bias)


def _mobilefacenet(graph: OnnxGraph, found: Matched, product: Array) -> None:
    if len(graph.layers) < 6 or len(graph.layers) % 3 == 2:
        raise graph.refuse(f"{len(graph.layers)} convolutions")
    first, *body, separable, whole = graph.layers

    def put(layer: Layer, name: str) -> None:
        found.put_layer(layer, f"{name}.layers.0", f"{name}.layers.1", f"{name}.layers.2")

    put(first, "layers.0")
    if len(body) % 3:
        put(body.pop(0), "layers.1")
    stage, index = 0, 0
    for start in range(0, len(body), 3):
        unit = body[start : start + 3]
        if unit[1].stride == 2:
            stage, index = stage + 1, 0
            name = f"layers.{2 * stage}"
        else:
            name, index = f"layers.{2 * stage + 1}.layers.{index}", index + 1
        for i, layer in enumerate(unit):
            put(layer, f"{name}.layers.{i}")
    put(separable, "conv_sep")
    put(whole, "features.layers.0")
    found.put("features.layers.2.weight", product)
    found.put_norm("features.layers.3", graph.last_norm, len(product), graph.product_bias)
