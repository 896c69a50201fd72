"""From a torch module to an ONNX graph: traced, cleaned, nothing of the machine it was made on left in it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from packaging.version import Version
from torch import nn

from btnet.optional import extra

with extra("onnx"):
    import onnx
    from onnx_ir.passes import common as passes
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules import common as rules

__all__ = ["INPUT", "OUTPUT", "PRECISIONS", "convert", "quiet", "to_half"]

INPUT, OUTPUT = "data", "embedding"
PRECISIONS: Final = ("fp32", "fp16")
# The dynamo exporter's own: any other is reached by conversion. Read by onnxruntime 1.14 and later.
_OPSET = 18
_OLDEST_TORCH: Final = "2.7"
# ArcFaceONNX looks at this many nodes; names like these would make it feed grey levels, unscaled.
_NUM_NODES_SEEN = 8
_NAMES_OF_A_SCALING_GRAPH = ("Sub", "_minus", "Mul", "_mul")
# A constant of up to this many numbers is computed while exporting: shapes, slopes, tables of the resizing.
_LARGEST_FOLDED = 1 << 16


def convert(module: nn.Module, input_size: int, *, fold: bool = True) -> onnx.ModelProto:
    """Trace a module that takes `INPUT` [N, 3, input_size, input_size] and gives `OUTPUT`, N free.

    Args:
        module: in eval mode, float32, on the CPU.
        input_size: in px.
        fold: merge each BatchNorm into the convolution or matrix product before it. Unfolded, the graph's
            weights are the module's own, bit by bit, under their names in the state dict of its `network`.

    Returns:
        The graph with its weights, float32.

    Raises:
        ValueError: if the installed torch is older than its exporter for open batch sizes.
    """
    if Version(torch.__version__) < Version(_OLDEST_TORCH):
        raise ValueError(
            f"torch {torch.__version__}: ONNX export needs torch {_OLDEST_TORCH} or newer; export with one, training "
            "does not need it"
        )
    sizes = (2, 3, input_size, input_size)  # a batch of 1 would be taken for a constant
    with quiet("torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
        program = torch.onnx.export(
            module,
            (torch.zeros(sizes),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamo=True,
            external_data=False,
            opset_version=_OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
            optimize=fold,
        )
        assert program is not None
        if not fold:
            _clean(program)
    model: onnx.ModelProto = program.model_proto
    graph = model.graph
    # The exporter notes for each node which line of which file of this machine it came from.
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix("network.")
    for node in graph.node:
        node.input[:] = [name.removeprefix("network.") for name in node.input]
    for node in graph.node[:_NUM_NODES_SEEN]:
        if node.name.startswith(_NAMES_OF_A_SCALING_GRAPH):
            node.name = f"node_{node.name}"
    return model


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with float16 weights and arithmetic from the first convolution on.

    Input, output and the resizing before it stay float32: grey levels and their weights need the 24 bits.

    Args:
        model: of `convert`; not touched.
    """
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    first = next(i for i, node in enumerate(graph.node) if node.op_type == "Conv")
    used = {name for node in graph.node[first:] for name in node.input}
    for tensor in graph.initializer:
        if tensor.name in used and tensor.data_type == onnx.TensorProto.FLOAT:
            weight = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(weight, tensor.name))
    del graph.value_info[:]  # says float32
    [door, *_] = graph.node[first].input
    graph.node[first].input[0] = "data_fp16"
    [last] = [node for node in graph.node if OUTPUT in node.output]
    last.output[0] = "embedding_fp16"
    graph.node.insert(first, _cast(door, "data_fp16", onnx.TensorProto.FLOAT16))
    graph.node.append(_cast("embedding_fp16", OUTPUT, onnx.TensorProto.FLOAT))
    return half


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [target], name=f"node_{target}", to=to)


def _clean(program: torch.onnx.ONNXProgram) -> None:
    """What the exporter's own clean-up does, without the merging of BatchNorms."""
    optimizer.fold_constants(
        program.model,
        input_size_limit=_LARGEST_FOLDED,
        output_size_limit=_LARGEST_FOLDED,
    )
    rewriter.rewrite(
        program.model,
        [
            rules.materialize_reshape_shape_rule,
            rules.remove_optional_bias_from_conv_rule,
            rules.remove_optional_bias_from_gemm_rule,
        ],
    )
    passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(program.model)
    optimizer.remove_unused_nodes(program.model)


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Without warnings, and without what these loggers say below errors: advice that exports do not need."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
