"""Which operators an ONNX file may have to be run: those that `btnet export-onnx` writes.

onnxruntime runs what a file says: loops without end, tensors of any size. A network of ours needs neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx

__all__ = ["check_operators"]

_OPERATORS: Final = frozenset(
    [
        "Add",
        "BatchNormalization",
        "Cast",
        "Clip",
        "Constant",
        "Conv",
        "Div",
        "Flatten",
        "Floor",
        "Gather",
        "Gemm",
        "Identity",
        "MatMul",
        "Mul",
        "PRelu",
        "Reshape",
        "Round",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "QuantizeLinear",
        "DequantizeLinear",
    ]
)
_LARGEST: Final = 64  # of a convolution's numbers: sizes, strides, padding


def check_operators(path: Path) -> None:
    """Refuse a file with other operators; its weights are not read.

    Raises:
        ValueError: naming the file and the operator.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a whole ONNX file ({reason}); copy or export it again") from error
    if model.functions:
        raise ValueError(
            f"{path}: defines functions of its own, an export of btnet does not; export it again"
        )
    for node in model.graph.node:
        if node.op_type not in _OPERATORS or node.domain not in ("", "ai.onnx"):
            raise ValueError(
                f"{path}: has the operator {node.op_type[:80]!r}, which no export of btnet has; it is not run"
            )
        if node.op_type == "Conv" and any(
            abs(n) > _LARGEST for a in node.attribute if a.name != "group" for n in a.ints
        ):
            raise ValueError(
                f"{path}: a convolution with numbers beyond {_LARGEST}, which no export of btnet has"
            )
