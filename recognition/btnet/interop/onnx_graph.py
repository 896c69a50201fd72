"""A foreign recognition ONNX as the layers it computes, whatever its nodes are called and however they are sorted."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.files.text import naming
from btnet.optional import extra

with extra("onnx"):
    import onnx

__all__ = ["Affine", "Array", "Layer", "OnnxGraph"]

Array = NDArray[np.float32]
_TRANSPARENT: Final = ("Identity", "Dropout", "Cast")  # pass a tensor on unchanged in inference
_FLATTENING: Final = ("Flatten", "Reshape", "Squeeze")  # make a row of the last feature map
_ARITHMETIC: Final = ("Add", "Sub", "Mul", "Div")
_MOST_SCALES: Final = 4  # elements of a constant by which images are scaled: one, or one a channel
_QUANTISED: Final = {"DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear"}
_IMAGES, _EMBEDDING = "images", "embedding"


class Affine(NamedTuple):
    """A BatchNormalization as it stands in the graph, [C] each."""

    weight: Array
    bias: Array
    running_mean: Array
    running_var: Array
    eps: float


@dataclass
class Layer:
    """A Conv and what follows it.

    Attributes:
        weight: [out, in / groups, k, k].
        bias: [out], or None.
        stride: in both directions.
        norm: a BatchNormalization, unless it was merged.
        slopes: of a PRelu, [1] or [out]; None if linear.
    """

    weight: Array
    bias: Array | None
    stride: int
    norm: Affine | None = None
    slopes: Array | None = None


class OnnxGraph:
    """The layers of a file between one input and one output; nodes beside these are not looked at.

    Attributes:
        path: for messages.
        dtype: "float16" if any weight is, else "float32".
        metadata: what its maker wrote into it.
        slope, zero: the first layer sees slope * (input - zero); convolutions pad with `zero`.
        layers: in order of execution.
        norms: BatchNorms that follow no layer, in order.
        product: weight [D, F] of the Gemm or MatMul that makes the embedding.
        product_bias: [D], or None.
        last_norm: the BatchNorm behind it, or None.
    """

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no ONNX file, is quantised, has several inputs or outputs, or computes something that
                an IResNet or MobileFaceNet does not; the node is named.
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
        self.path, self._model, self._nodes = path, model, list(model.graph.node)
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        self.slope, self.zero = 1.0, 0.0
        self.layers: list[Layer] = []
        self.norms: list[Affine] = []
        self.product: Array | None = None
        self.product_bias: Array | None = None
        self.last_norm: Affine | None = None
        # A damaged graph can fail in as many ways as it is read.
        with naming(
            path, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, NotImplementedError
        ):
            self._read()

    def understood(self) -> bytes:
        """The model of the nodes that were read, and no others: what a file holds beside them is not run."""
        nodes = []
        for node in (self._nodes[i] for i in sorted(self._used)):
            if node.op_type in _FLATTENING:
                node = onnx.helper.make_node("Flatten", node.input[:1], node.output[:1], axis=1)
            nodes.append(node)
        needed = {name for node in nodes for name in node.input} & self._constants.keys()
        constants = [onnx.numpy_helper.from_array(self._constants[name], name) for name in sorted(needed)]
        graph = onnx.helper.make_graph(
            nodes, "understood", [self._input], self._model.graph.output, constants
        )
        imports = [each for each in self._model.opset_import if each.domain in ("", "ai.onnx")]
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=self._model.ir_version)
        return bytes(model.SerializeToString())

    def refuse(self, found: str) -> ValueError:
        """An error that says what the graph has in the place of a layer of ours."""
        return ValueError(
            f"{self.path}: expected an IResNet or a MobileFaceNet, found {found}; these can be read in float32 or "
            "float16, with or without BatchNorms merged into convolutions"
        )

    def _read(self) -> None:
        graph = self._model.graph
        self._constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        for node in self._nodes:
            if node.op_type == "Constant" and "value" in (values := _attributes(node)):
                self._constants[node.output[0]] = onnx.numpy_helper.to_array(values["value"])
        self._producers = {output: i for i, node in enumerate(self._nodes) for output in node.output}
        half = any(weight.dtype == np.float16 for weight in self._constants.values())
        self.dtype = "float16" if half else "float32"
        inputs = [value for value in graph.input if value.name not in self._constants]
        if quantised := sorted({node.op_type for node in self._nodes} & _QUANTISED):
            raise ValueError(f"{self.path}: quantised ({quantised[0]}); give the float file it was made from")
        if len(inputs) != 1 or len(graph.output) != 1:
            raise ValueError(
                f"{self.path}: {len(inputs)} inputs and {len(graph.output)} outputs, a recognition model has one of "
                "each; is it a detector?"
            )
        self._input = inputs[0]
        made_by: dict[str, Any] = {self._input.name: _IMAGES}
        self._used: set[int] = set()
        for node in self._path(graph.output[0].name):
            [data, *_] = [*self._data_inputs(node), ""]
            made_by[node.output[0]] = self._read_node(node, made_by.get(data))
        if made_by.get(graph.output[0].name) is not _EMBEDDING:
            raise self.refuse("an output that no Gemm or MatMul makes")

    def _path(self, output: str) -> Iterator[Any]:
        """The nodes between images and embedding, in order."""
        wanted = [output]
        while wanted:
            index = self._producers.get(wanted.pop())
            if index is not None and index not in self._used:
                self._used.add(index)
                wanted += self._data_inputs(self._nodes[index])
        return (self._nodes[i] for i in sorted(self._used))

    def _data_inputs(self, node: Any) -> list[str]:
        names = node.input[: 2 if node.op_type in _ARITHMETIC else 1]
        return [name for name in names if self._constant(name) is None]

    def _read_node(self, node: Any, source: Any) -> Any:
        """Record what a node does; returns what its output is made by: a layer, the images, the embedding."""
        kind = node.op_type
        if kind in _TRANSPARENT or kind in _FLATTENING:
            return source
        if kind == "Conv":
            self.layers.append(self._convolution(node))
            return self.layers[-1]
        if kind == "BatchNormalization":
            weight, bias, mean, variance = (self._weight(name) for name in node.input[1:5])
            norm = Affine(weight, bias, mean, variance, float(_attributes(node).get("epsilon", 1e-5)))
            if source is _EMBEDDING and self.last_norm is None:
                self.last_norm = norm
                return source
            if isinstance(source, Layer) and source.norm is None:
                source.norm = norm
                return source
            self.norms.append(norm)
            return None
        if kind == "PRelu" and isinstance(source, Layer):
            source.slopes = self._weight(node.input[1]).reshape(-1)
            return None
        if kind in ("Gemm", "MatMul") and self.product is None:
            values = {"transA": 0, "transB": 0, "alpha": 1.0, "beta": 1.0} | _attributes(node)
            if (values["transA"], values["alpha"], values["beta"]) == (0, 1.0, 1.0):
                weight = self._weight(node.input[1])
                self.product = weight if values["transB"] else np.ascontiguousarray(weight.T)
                self.product_bias = self._row(node.input[2]) if "".join(node.input[2:]) else None
                return _EMBEDDING
        if kind in _ARITHMETIC:
            constants = [i for i, name in enumerate(node.input) if self._constant(name) is not None]
            if kind == "Add" and not constants:
                return None
            if kind == "Add" and constants and source is _EMBEDDING and self.product_bias is None:
                self.product_bias = self._row(node.input[constants[0]])
                return source
            if source is _IMAGES and (constants == [1] or (constants == [0] and kind in ("Add", "Mul"))):
                scale = self._weight(node.input[constants[0]])
                # A large tensor of one number would blow the images up to its shape.
                if scale.size <= _MOST_SCALES and len(set(scale.flat)) == 1:
                    self._scale(kind, float(scale.flat[0]))
                    return source
        raise self.refuse(f"{kind} {node.name!r}")

    def _scale(self, kind: str, by: float) -> None:
        if kind in ("Add", "Sub"):
            self.zero -= (by if kind == "Add" else -by) / self.slope
        else:
            self.slope *= by if kind == "Mul" else 1 / by

    def _convolution(self, node: Any) -> Layer:
        values, weight = _attributes(node), self._weight(node.input[1])
        strides, pads = values.get("strides", [1, 1]), values.get("pads", [0, 0, 0, 0])
        if (
            weight.ndim != 4
            or weight.shape[2] != weight.shape[3]
            or set(strides) not in ({1}, {2})
            or len(set(pads)) != 1
            or not 0 <= pads[0] <= weight.shape[2] // 2
            or set(values.get("dilations", [1])) != {1}
        ):
            raise self.refuse(f"Conv {node.name!r} that is not square, with equal strides and padding")
        bias = self._weight(node.input[2]) if "".join(node.input[2:]) else None
        return Layer(weight, bias, strides[0])

    def _constant(self, name: str) -> NDArray[Any] | None:
        passed = []
        while name not in self._constants:
            index = self._producers.get(name)
            if index is None or self._nodes[index].op_type not in _TRANSPARENT:
                return None
            passed.append(index)
            name = self._nodes[index].input[0]
        self._used.update(passed)
        found: NDArray[Any] = self._constants[name]
        return found

    def _weight(self, name: str) -> Array:
        value = self._constant(name)
        if value is None:
            raise ValueError(
                f"{self.path}: {name!r} is computed where a stored weight is expected; simplify the file first "
                "(constants folded), then give it again"
            )
        return value.astype(np.float32)

    def _row(self, name: str) -> Array:
        """A weight that is added to each row."""
        weight = self._weight(name)
        if weight.ndim and weight.shape[-1] != weight.size:
            raise ValueError(f"{self.path}: {name[:80]!r} has shape {list(weight.shape)}, expected one row")
        return weight.reshape(-1)


def _sort(graph: Any) -> None:
    """Put each node behind those it needs, which onnx's checker asks for and some converters do not."""
    made_by = {output: i for i, node in enumerate(graph.node) for output in node.output if output}
    needs = {
        i: {made_by[name] for name in node.input if name in made_by} for i, node in enumerate(graph.node)
    }
    nodes = [copy.deepcopy(graph.node[i]) for i in TopologicalSorter(needs).static_order()]
    del graph.node[:]
    graph.node.extend(nodes)


def _attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
