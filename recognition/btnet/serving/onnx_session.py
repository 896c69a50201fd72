"""ONNX files opened for use: which operators one may have to be served, and sessions of onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from btnet.optional import extra

with extra("onnx"):
    import onnx
    import onnxruntime

__all__ = ["check_operators", "open_session"]

_OPERATORS: Final = {
    "Add", "BatchNormalization", "Cast", "Clip", "Constant", "Conv", "DequantizeLinear", "Div", "Flatten", "Floor",
    "Gather", "Gemm", "Identity", "MatMul", "Mul", "PRelu", "QuantizeLinear", "Reshape", "Round", "Squeeze", "Sub",
    "Transpose", "Unsqueeze",
}  # fmt: skip
_LARGEST: Final = 64  # of a convolution's sizes, strides and padding


def check_operators(path: Path) -> None:
    """Refuse a file with operators that `btnet export-onnx` does not write; its weights are not read.

    onnxruntime runs whatever a file says: endless loops, tensors of any size.

    Raises:
        ValueError: naming the file and the operator.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's own errors
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a whole ONNX file ({reason}); copy or export it again") from error
    if model.functions:
        raise ValueError(f"{path}: defines functions, which no export of btnet does; export it again")
    for node in model.graph.node:
        if node.op_type not in _OPERATORS or node.domain not in ("", "ai.onnx"):
            raise ValueError(
                f"{path}: has the operator {node.op_type[:80]!r}, which no export of btnet has; it is not run"
            )
        sizes = [n for a in node.attribute if a.name != "group" for n in a.ints]
        if node.op_type == "Conv" and any(abs(n) > _LARGEST for n in sizes):
            raise ValueError(f"{path}: has a convolution with a size beyond {_LARGEST}; export it again")


def open_session(path: str | Path, content: bytes | None = None) -> Any:
    """Load a file into onnxruntime, on the CPU, without its log.

    Args:
        path: of the file.
        content: loaded instead of the file, which errors still name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if onnxruntime cannot read it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such ONNX file; write one with `btnet export-onnx`")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no other base
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: onnxruntime cannot read it ({reason}); export it again") from error
