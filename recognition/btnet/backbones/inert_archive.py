"""Archives of `torch.save` that hold more than weights: their tensors are read, all else has no effect.

PyTorch Lightning keeps hyper-parameters and callbacks beside the state dict, as objects of their classes, and
`torch.load(weights_only=True)` refuses the whole file for them. Here every name in the pickle, other than those that
tensors are made of, becomes a stand-in: nothing is imported and nothing is run. Only stand-ins that checkpoints use for
plain values may be called.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from btnet.files.safe_pickle import load_ruled

_DTYPES: Final = {
    f"{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}  # fmt: skip
# Packages whose values are pickled as calls of their classes: paths, numpy numbers, dates, what Lightning keeps.
_CALLED: Final = (
    "pathlib", "numpy", "datetime", "collections", "argparse", "torch", "enum", "omegaconf", "functools", "_codecs",
    "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities",
)  # fmt: skip
_BUILTINS: Final = (
    "set", "frozenset", "complex", "slice", "range", "bytes", "bytearray", "list", "dict", "tuple",
)  # fmt: skip


class _Named(type):
    """The type of stand-ins: calling one is allowed to those of a few packages alone."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        is_value = cls.__module__ in ("builtins", "__builtin__") and cls.__qualname__ in _BUILTINS
        if not is_value and cls.__module__.partition(".")[0] not in _CALLED:
            raise ValueError(f"it calls {cls.__module__}.{cls.__qualname__}; do not trust this file")
        return dict.__new__(cls)  # type: ignore[arg-type]  # of StandIn's


class StandIn(dict[Any, Any], metaclass=_Named):
    """An object of a class that is not imported: it keeps its items, if it has any, and no attributes."""

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:  # noqa: D102 (said above)
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass

    def append(self, value: object) -> None:
        """Nothing: what a list that is not imported would hold is not needed."""

    extend = add = append


def read_inert(path: Path) -> Any:
    """Content of a zip file of `torch.save` (sums and sizes checked): tensors, plain values, else `StandIn`.

    Raises:
        ValueError: if it calls what no checkpoint calls. A damaged file can fail in other ways too.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        [pickled] = [name for name in names if name.endswith("data.pkl") and name.count("/") <= 1]
        root = pickled.removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are big-endian; save it again on another machine")
        storages: dict[str, Tensor] = {}

        def storage(pid: Any) -> Tensor:
            _, dtype, key, _, _ = pid
            if key not in storages:
                content = bytearray(archive.read(f"{root}data/{key}"))
                empty = torch.empty(0, dtype=dtype)
                storages[key] = torch.frombuffer(content, dtype=dtype) if content else empty
            return storages[key]

        return load_ruled(io.BytesIO(archive.read(pickled)), cache(_stands_for), storage)


def _stands_for(module: str, name: str) -> Any:
    if module == "torch" and name in _DTYPES:
        return _DTYPES[name]
    known: Mapping[tuple[str, str], Callable[..., Any]] = {
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("collections", "OrderedDict"): OrderedDict,
    }
    if (module, name) in known:
        # Wrapped anew each time: a pickle can set attributes on whatever it is given.
        function = known[module, name]
        return lambda *arguments: function(*arguments)
    return _Named(name, (StandIn,), {"__module__": module, "__qualname__": name})


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    # A stride of zero makes a few bytes a tensor of any size.
    if math.prod(size) > len(storage):
        raise ValueError(f"a tensor of shape {list(size)} with {len(storage)} numbers")
    return storage.as_strided(size, stride, offset)


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data
