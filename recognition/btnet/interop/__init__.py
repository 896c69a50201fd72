"""Formats and interfaces of others: arcface_torch, ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from btnet.interop.onnx import check_onnx, export_onnx

__all__ = ["check_onnx", "export_onnx"]


def __getattr__(name: str) -> Any:
    # On first use: onnx and onnxruntime take a second to import, and training needs neither.
    if name in __all__:
        from btnet.interop import onnx

        return getattr(onnx, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
