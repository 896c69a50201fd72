"""What every backbone shares: units run in order, taps, an early stop, gradient checkpointing."""

from __future__ import annotations

import contextlib
import re
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils.checkpoint import checkpoint
from typing_extensions import Self

from btnet.method import coupling
from btnet.method.coupling import Unit

Taps = dict[str, Tensor]


def count_units(state: Iterable[str], pattern: str) -> int:
    """How many numbers from 0 on, without a gap, the pattern's group has: a single key could announce a million."""
    found = {match.group(1) for key in state if (match := re.match(pattern, key))}
    return next(count for count in range(len(found) + 1) if str(count) not in found)


class Backbone(nn.Module):
    """A face encoder that states where it reduces the size of its input.

    A subclass builds its modules from `strides_at(...)` and answers `units()`; branches, overlays, FLOP
    counts and export follow from that. Nothing else about a backbone is known outside its file.

    Attributes:
        arch: the keyword arguments, without `input_size`, that build it again; plain numbers and strings.
        canonical_size: the trunk's input size in px.
        input_size: this network's input size in px, the canonical one or one of its pyramid.
        inner_size: px that it enlarges its input to (bilinearly) before its first unit; 0: it computes at `input_size`.
        enlarging: [inner_size, input_size], where that shall be two products: exported graphs hold no other operator.
        embedding_size: length of the embedding.
        origin: what is known of where the weights come from, see `load_trunk`; empty for those of arcface_torch.
        gradient_checkpointing: recompute units in the backward pass instead of keeping their activations.
    """

    arch: dict[str, Any]
    canonical_size: int
    input_size: int
    inner_size: int = 0
    enlarging: Tensor | None = None
    embedding_size: int
    origin: Mapping[str, str] = MappingProxyType({})
    gradient_checkpointing: bool = False
    moves_alone: bool = True

    @abstractmethod
    def units(self) -> list[Unit]:
        """The steps of the forward in order, with their strides at canonical size."""

    def rebuild(self, input_size: int, inner_size: int = 0) -> Self:
        """A freshly initialised network of this architecture for another input size.

        With an inner size, its strides, and so the sizes of all feature maps, are those of a network for that size.
        """
        network = type(self)(**self.arch, input_size=inner_size or input_size)
        network.input_size, network.inner_size = input_size, inner_size
        return network

    def fresh(self) -> Self:
        """A freshly initialised network of this architecture and these sizes."""
        return self.rebuild(self.input_size, self.inner_size)

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Self | None:
        """A freshly initialised trunk of the architecture that a state dict is of; None if it is not of this kind."""
        return None

    def coupling_layer(self, resolution: int) -> str:
        """Name of the unit whose output at canonical size has `resolution` px."""
        return coupling.coupling_layer(self.units(), self.canonical_size, resolution)

    def owned_keys(self, tail_from: str) -> list[str]:
        """State keys a branch has for itself: all before `tail_from` ("none": all), and every BatchNorm behind it."""
        tail = set(self.tail_keys(tail_from))
        return [
            key
            for unit in self.units()
            for key, is_norm in self._unit_keys(unit)
            if is_norm or key not in tail
        ]

    def norm_keys(self) -> list[str]:
        """State keys of every BatchNorm."""
        return [key for unit in self.units() for key, is_norm in self._unit_keys(unit) if is_norm]

    def tail_keys(self, tail_from: str) -> list[str]:
        """State keys of `tail_from` and all units behind it."""
        start = coupling.tail_index(self.units(), tail_from)
        return [key for unit in self.units()[start:] for key, _ in self._unit_keys(unit)]

    def fixed_by_authors(self, tail: Iterable[str]) -> list[str]:
        """Of the tail's keys, the BatchNorms' that the authors do not train."""
        return []

    def shared_parameters(self, tail_from: str) -> list[str]:
        """State keys of the tail that are the trunk's: all but BatchNorms."""
        owned = set(self.owned_keys(tail_from))
        return [key for key in self.state_dict() if key not in owned]

    def _unit_keys(self, unit: Unit) -> Iterator[tuple[str, bool]]:
        for root in unit.modules:
            for name, module in self.get_submodule(root).named_modules(prefix=root):
                is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
                direct = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
                yield from ((f"{name}.{key}", is_norm) for key, _ in direct)

    def forward(self, x: Tensor, *, taps: Collection[str] = ()) -> Any:
        """Embed a batch.

        Args:
            x: images in [-1, 1], RGB, [B, 3, input_size, input_size].
            taps: names of units whose outputs are wanted.

        Returns:
            The embedding [B, embedding_size], not normalised; with taps, (embedding, {unit name: feature}).

        Raises:
            ValueError: for a batch of another size or an unknown unit.
        """
        features = self._run(x, len(self.units()) - 1, taps)
        embedding = features.pop("")
        return (embedding, features) if taps else embedding

    def forward_to(self, x: Tensor, unit: str) -> Tensor:
        """Feature map of `unit`, [B, C, H, W]; later units are not run."""
        return self._run(x, coupling.unit_index(self.units(), unit), ())[""]

    def feature_maps(self, x: Tensor, units: Collection[str]) -> Taps:
        """Feature maps of several units, {unit name: [B, C, H, W]}; units behind the last of them are not run."""
        last = max((coupling.unit_index(self.units(), name) for name in units), default=0)
        found = self._run(x, last, units)
        return {name: found[name] for name in units}

    def _run(self, x: Tensor, last: int, taps: Collection[str]) -> Taps:
        if x.ndim != 4 or x.shape[1] != 3 or x.shape[2] != self.input_size or x.shape[3] != self.input_size:
            raise ValueError(
                f"images of shape {list(x.shape)}: this network takes [B, 3, {self.input_size}, {self.input_size}]; "
                "choose the network for the faces' size, or resize them with btnet.data.resize"
            )
        if self.inner_size:
            if self.enlarging is None:
                x = interpolate(x, (self.inner_size, self.inner_size), mode="bilinear")
            else:
                x = self.enlarging @ x @ self.enlarging.T
        units = self.units()
        for name in taps:
            coupling.unit_index(units, name)
        features: Taps = {}
        for unit in units[: last + 1]:
            x = self._run_unit(unit, x)
            if unit.name in taps:
                features[unit.name] = x
        features[""] = x
        return features

    def _run_unit(self, unit: Unit, x: Tensor) -> Tensor:
        modules = [self.get_submodule(name) for name in unit.modules]
        if unit.full_precision:
            with _without_autocast(x.device):
                return _chain(modules, x.to(_dtype(modules, x)))
        if self.gradient_checkpointing and self.training and torch.is_grad_enabled():

            def contexts() -> tuple[Any, Any]:
                return contextlib.nullcontext(), _frozen_statistics(modules)

            # A compiled unit counts its batch once by itself, and contexts cannot be traced.
            options: Any = {} if torch.compiler.is_compiling() else {"context_fn": contexts}
            out = checkpoint(_chain, modules, x, use_reentrant=False, **options)
            assert isinstance(out, Tensor)
            return out
        return _chain(modules, x)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        if not self.moves_alone:
            raise RuntimeError(
                "this network shares its frozen convolutions with the trunk, so its device and dtype cannot change "
                "alone; move the BTNet it belongs to, or take BTNet.detached(resolution)"
            )
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


class Flatten(nn.Module):
    """[B, C, H, W] -> [B, C H W]. A graph traced with one image takes many: the batch is never written into it."""

    def forward(self, x: Tensor) -> Tensor:
        """Flatten all but the batch."""
        return x.contiguous().view(-1, x.shape[1] * x.shape[2] * x.shape[3])


def initialise(module: nn.Module) -> None:
    """arcface_torch's initialisation: convolutions N(0, 0.1), normalisations the identity."""
    if next(module.parameters()).is_meta:  # no numbers to set; torch would take seconds to find that out
        return
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, 0.0, 0.1)
        elif isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def _without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    # The meta device, where costs are counted, knows no autocast at all.
    if device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def _chain(modules: list[nn.Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


def _dtype(modules: list[nn.Module], x: Tensor) -> torch.dtype:
    weights = [p.dtype for module in modules for p in module.parameters()]
    return weights[0] if weights else x.dtype


@contextlib.contextmanager
def _frozen_statistics(modules: list[nn.Module]) -> Iterator[None]:
    """Normalise with the batch, as in the first pass, but do not count the batch a second time."""
    norms = [
        m for module in modules for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # Not by track_running_stats: the recomputation must save as many tensors as the first pass did.
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
