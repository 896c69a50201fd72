"""A foreign ONNX graph read backwards, whatever its nodes are called: convolutions, normalisations, products."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from btnet.files.text import naming

__all__ = ["FLATTENING", "Affine", "Convolution", "OnnxGraph", "Product"]

Array = NDArray[np.float32]
# What passes a tensor on unchanged in inference.
_TRANSPARENT: Final = ("Identity", "Dropout", "Cast")
# What makes a row of the last feature map.
FLATTENING: Final = ("Flatten", "Reshape", "Squeeze")
_MOST_SCALES = 4  # elements of a constant by which images are scaled: one, or one a channel
_QUANTISED: Final = ("DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear")


class Affine(NamedTuple):
    """A BatchNormalization as it stands in the graph, [C] each."""

    weight: Array
    bias: Array
    running_mean: Array
    running_var: Array
    eps: float


class Convolution(NamedTuple):
    """A Conv: weight [out, in / groups, k, k], bias [out] or None."""

    weight: Array
    bias: Array | None
    stride: int
    padding: int
    groups: int


class Product(NamedTuple):
    """A Gemm, or MatMul and Add: weight [out, in], bias [out] or None."""

    weight: Array
    bias: Array | None


class OnnxGraph:
    """The graph of one input and one output, read from the output to the input.

    Each `take_*` looks at the node that makes a tensor and returns what it is and the tensor it is made of.

    Attributes:
        path: for messages.
        input: name of the images' tensor.
        output: name of the embeddings' tensor.
        dtype: "float16" if any weight is, else "float32".
        metadata: what its maker wrote into it.
    """

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no ONNX file, is quantised, or has several inputs or outputs.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such ONNX file")
        try:
            model = onnx.load(path)
            _sort(model.graph)
            onnx.checker.check_model(model)
        except Exception as error:  # protobuf's and the checker's errors have no common base
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{path}: not a whole ONNX file ({reason}); copy it again") from error
        graph = model.graph
        self.path, self._model = path, model
        self._looked_at: dict[str, None] = {}
        with naming(path, TypeError, LookupError, NotImplementedError):
            self._constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
            for node in graph.node:
                if node.op_type == "Constant" and any(a.name == "value" for a in node.attribute):
                    self._constants[node.output[0]] = onnx.numpy_helper.to_array(_attributes(node)["value"])
        self._producers = {output: node for node in graph.node for output in node.output}
        quantised = sorted({node.op_type for node in graph.node} & set(_QUANTISED))
        if quantised:
            raise ValueError(f"{path}: quantised ({quantised[0]}); give the float file it was made from")
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(
                f"{path}: {len(inputs)} inputs and {len(graph.output)} outputs, a recognition model has one of "
                "each; is it a detector?"
            )
        self.input, self.output = inputs[0].name, graph.output[0].name
        half = any(weight.dtype == np.float16 for weight in self._constants.values())
        self.dtype = "float16" if half else "float32"
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}

    def understood(self) -> bytes:
        """The model of those nodes alone that were taken, to be run; a file may hold others, which would run too."""
        nodes = []
        for node in self._model.graph.node:
            if self._looked_at.keys().isdisjoint(node.output) or node.op_type == "Constant":
                continue
            if node.op_type in FLATTENING:
                node = onnx.helper.make_node("Flatten", node.input[:1], node.output[:1], axis=1)
            nodes.append(node)
        needed = {name for node in nodes for name in node.input}
        constants = [
            onnx.numpy_helper.from_array(value, name)
            for name, value in self._constants.items()
            if name in needed
        ]
        inputs = [value for value in self._model.graph.input if value.name == self.input]
        graph = onnx.helper.make_graph(nodes, "understood", inputs, self._model.graph.output, constants)
        imports = [each for each in self._model.opset_import if each.domain in ("", "ai.onnx")]
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=self._model.ir_version)
        return bytes(model.SerializeToString())

    def refuse(self, tensor: str, expected: str) -> ValueError:
        """An error that names the node where the graph is not of the kind it should be."""
        node = self._producer(tensor)
        found = "the input" if node is None else f"{node.op_type} {node.name!r}".strip()
        return ValueError(
            f"{self.path}: expected {expected}, found {found}; IResNets and MobileFaceNets can be read, "
            "in float32 or float16, with or without BatchNorms merged into convolutions"
        )

    def take(self, tensor: str, *op_types: str) -> str | None:
        """First input of the node that makes `tensor`, if it is one of these kinds."""
        node = self._producer(tensor)
        return None if node is None or node.op_type not in op_types else node.input[0]

    def take_affine(self, tensor: str) -> tuple[Affine | None, str]:
        """A BatchNormalization, or nothing and the tensor itself."""
        node = self._producer(tensor)
        if node is None or node.op_type != "BatchNormalization":
            return None, tensor
        weight, bias, mean, var = (self._weight(name) for name in node.input[1:5])
        return Affine(weight, bias, mean, var, float(_attributes(node).get("epsilon", 1e-5))), node.input[0]

    def take_convolution(self, tensor: str) -> tuple[Convolution, str] | None:
        """A square Conv with equal strides and symmetric padding."""
        node = self._producer(tensor)
        if node is None or node.op_type != "Conv":
            return None
        values, weight = _attributes(node), self._weight(node.input[1])
        strides, pads = values.get("strides", [1, 1]), values.get("pads", [0, 0, 0, 0])
        is_square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
        is_even = len(set(strides)) == 1 and len(set(pads)) == 1 and set(values.get("dilations", [1])) == {1}
        if (
            not is_square
            or not is_even
            or not 0 <= pads[0] <= weight.shape[2] // 2
            or strides[0] not in (1, 2)
        ):
            raise self.refuse(tensor, "square convolutions with equal strides and padding")
        bias = self._weight(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        return Convolution(weight, bias, strides[0], pads[0], values.get("group", 1)), node.input[0]

    def take_slopes(self, tensor: str) -> tuple[Array, str] | None:
        """Slopes of a PRelu as [1] or [C]."""
        node = self._producer(tensor)
        return (
            None
            if node is None or node.op_type != "PRelu"
            else (self._weight(node.input[1]).reshape(-1), node.input[0])
        )

    def take_product(self, tensor: str) -> tuple[Product, str] | None:
        """A Gemm, a MatMul, or a MatMul and the Add of a constant."""
        node, bias = self._producer(tensor), None
        if (
            node is not None
            and node.op_type == "Add"
            and (constant := self._constant_input(node)) is not None
        ):
            bias = self._row(node.input[constant])
            node = self._producer(node.input[1 - constant])
        if (
            node is None
            or node.op_type not in ("Gemm", "MatMul")
            or (node.op_type == "Gemm" and bias is not None)
        ):
            return None
        weight = self._weight(node.input[1])
        if node.op_type == "MatMul":
            return Product(np.ascontiguousarray(weight.T), bias), node.input[0]
        values = _attributes(node)
        if values.get("transA", 0):
            raise self.refuse(tensor, "a Gemm of embeddings by weights")
        weight = weight if values.get("transB", 0) else np.ascontiguousarray(weight.T)
        if len(node.input) > 2 and node.input[2]:
            bias = np.float32(values.get("beta", 1.0)) * self._row(node.input[2])
        return Product(np.float32(values.get("alpha", 1.0)) * weight, bias), node.input[0]

    def take_sum(self, tensor: str) -> tuple[str, str] | None:
        """The two summands of an Add of tensors."""
        node = self._producer(tensor)
        if node is None or node.op_type != "Add" or self._constant_input(node) is not None:
            return None
        return node.input[0], node.input[1]

    def take_scaling(self, tensor: str) -> tuple[str, float, str] | None:
        """A Sub, Add, Mul or Div by one number: kind, number, input."""
        node = self._producer(tensor)
        if node is None or node.op_type not in ("Sub", "Add", "Mul", "Div"):
            return None
        constant = self._constant_input(node)
        if constant is None or (constant == 0 and node.op_type in ("Sub", "Div")):
            return None
        weight = self._weight(node.input[constant])
        values = np.unique(weight)
        # A large tensor of one number would blow the images up to its shape.
        return (
            None
            if values.size != 1 or weight.size > _MOST_SCALES
            else (node.op_type, float(values[0]), node.input[1 - constant])
        )

    def same(self, first: str, second: str) -> bool:
        """Whether two names mean the same tensor."""
        return self._through(first) == self._through(second)

    def is_input(self, tensor: str) -> bool:
        """Whether it is the images' tensor."""
        source: str = self.input
        return self._through(tensor) == source

    def _through(self, tensor: str) -> str:
        for _ in range(len(self._producers) + 1):
            node = self._producers.get(tensor)
            if node is None or node.op_type not in _TRANSPARENT or not node.input:
                return tensor
            self._looked_at[tensor] = None
            tensor = node.input[0]
        raise ValueError(
            f"{self.path}: {tensor[:80]!r} is made of itself; the file is damaged: copy it again"
        )

    def _producer(self, tensor: str) -> Any:
        source = self._through(tensor)
        self._looked_at[source] = None
        return self._producers.get(source)

    def _constant_input(self, node: Any) -> int | None:
        found = [i for i, name in enumerate(node.input[:2]) if self._through(name) in self._constants]
        return found[0] if found else None

    def _row(self, name: str) -> Array:
        """A weight that is added to each row."""
        weight = self._weight(name)
        if weight.ndim and weight.shape[-1] != weight.size:
            raise ValueError(f"{self.path}: {name[:80]!r} has shape {list(weight.shape)}, expected one row")
        return weight.reshape(-1)

    def _weight(self, name: str) -> Array:
        tensor = self._through(name)
        if tensor not in self._constants:
            raise ValueError(
                f"{self.path}: {name!r} is computed where a stored weight is expected; simplify the file first "
                "(constants folded), then give it again"
            )
        return self._constants[tensor].astype(np.float32)


def _sort(graph: Any) -> None:
    """Put each node behind those it needs; onnxruntime's float16 converter appends. An order that is right stays."""
    nodes = list(graph.node)
    made_by = {output: i for i, node in enumerate(nodes) for output in node.output if output}
    needs = [{made_by[name] for name in node.input if name in made_by} for node in nodes]
    needed_by: dict[int, list[int]] = {}
    for i, others in enumerate(needs):
        for other in others:
            needed_by.setdefault(other, []).append(i)
    ready = [i for i, others in enumerate(needs) if not others]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for other in needed_by.get(i, ()):
            needs[other].discard(i)
            if not needs[other]:
                heapq.heappush(ready, other)
    # In a circle none comes first: the checker says so.
    if len(order) == len(nodes) and order != list(range(len(nodes))):
        copies = [onnx.NodeProto.FromString(nodes[i].SerializeToString()) for i in order]
        del graph.node[:]
        graph.node.extend(copies)


def _attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
