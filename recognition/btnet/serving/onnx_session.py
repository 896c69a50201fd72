"""ONNX files opened for use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

__all__ = ["open_session"]


def open_session(path: str | Path, content: bytes | None = None) -> Any:
    """Load a file into onnxruntime, on the CPU, without its chatter.

    Args:
        path: the file.
        content: what to load in its place; the file then is what messages name.

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
