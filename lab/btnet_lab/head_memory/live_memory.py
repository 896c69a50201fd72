"""How many bytes of tensors are alive: on the meta device, a measurement of memory that needs none."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveMemory"]


class LiveMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every storage that operations inside the block make, until it is freed.

    Autograd's saved tensors count, as on a real device: a storage is alive as long as anything holds it. What
    an operation needs inside itself (the workspace of a matrix product or a sort, communication buffers) does
    not count, nor does rounding up to the allocator's blocks. Where it is watched, autograd works out of place in a
    few formulas that else work in place (the way back through `gather`): the peak may be one such result too high.

        with LiveMemory() as memory:
            loss(torch.empty(128, 512, device="meta")).backward()
        memory.peak

    Attributes:
        live: bytes alive now.
        peak: most bytes alive at any time; set it to `live` to begin anew.
        largest: elements of the largest single tensor.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self.largest = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it made."""
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                # a sparse tensor has no storage of its own, its indices and values have
                parts = [value] if value.layout == torch.strided else [value._indices(), value._values()]
                self.largest = max(self.largest, *(part.numel() for part in parts))
                for part in parts:
                    self._follow(part.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        address, num_bytes = storage._cdata, storage.nbytes()
        if address in self._known:
            return
        self._known.add(address)
        self.live += num_bytes
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, address, num_bytes)

    def _forget(self, address: int, num_bytes: int) -> None:
        self._known.discard(address)
        self.live -= num_bytes
