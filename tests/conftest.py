"""All tests: hypothesis draws the same examples each time, however slow the machine; `make fuzz` looks for new ones.

A network is traced for ONNX once: it takes seconds, and many tests export the same one.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")

_LARGEST_KEPT = 10_000_000  # bytes of a graph


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Keep what is traced, from the first test on whose file or command has imported the exporter."""
    exporter: Any = sys.modules.get("btnet.interop.onnx")
    if exporter is not None and not hasattr(exporter.convert, "kept"):
        exporter.convert = _keeping(exporter.convert)
        _read_operators_once()


def _keeping(convert: Any) -> Any:
    from btnet.backbones.state import fingerprint

    kept: dict[tuple[object, ...], bytes] = {}

    def convert_once(module: Any, input_size: int, *, fold: bool = True) -> Any:
        resized = module.interpolation if module.input_size != module.network.input_size else None
        state = fingerprint(module.state_dict())
        key = (type(module.network), repr(module), state, input_size, resized, fold)
        if key not in kept:
            model = convert(module, input_size, fold=fold)
            if model.ByteSize() > _LARGEST_KEPT:
                return model
            kept[key] = model.SerializeToString()
        return _parsed(kept[key])

    convert_once.kept = kept  # type: ignore[attr-defined]
    return convert_once


def _parsed(content: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(content)


def _read_operators_once() -> None:
    """Else torch reads its table of operators in each export: a quarter of its time."""
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter import _registration

        registry: Any = _registration.ONNXRegistry
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))
