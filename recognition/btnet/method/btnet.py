"""BTNet: a frozen trunk and one network per resolution that shares the tail's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import copy_tensors, fingerprint
from btnet.backbones.trunk_file import adopt
from btnet.files.text import naming
from btnet.method import coupling
from btnet.method.overlay import Overlay
from btnet.method.saved_model import read_model, write_model
from btnet.method.shared_state import store_shared_once

PRESETS = ("paper", "authors")


class BTNet(nn.Module):
    """Branch-to-Trunk network ("Learning Unified Representations for Multi-Resolution Face Recognition").

    The network of resolution r is an ordinary backbone with `input_size=r`. From `tail_from` on, its
    parameters other than BatchNorm *are* the trunk's (the same `nn.Parameter` objects), frozen; all else is
    its own and starts from the trunk's values. The trunk never changes: it stays in eval mode and
    receives no gradient.

    Args:
        trunk: a backbone of ours, or arcface_torch's own instance, whose tensors are then shared, not copied.
            Its parameters are frozen.
        resolutions: sizes in px to have branches for.
        tail_from: unit where the shared tail starts, for all resolutions or per resolution. Default: behind
            the coupling layer (paper, section 3.2). A unit before the coupling layer is shared with stride 1.
            "none": nothing is shared.
        interpolation: how low-resolution faces are made; recorded in the overlays.
        own: parameters in the tail, by resolution and state key, that a branch keeps for itself, frozen: networks
            trained elsewhere may hold other values there than the trunk.
        inner_size: px that branches enlarge their faces to before the first convolution, for all resolutions or per
            resolution: the canonical size or one of the pyramid. A larger one leaves more strides as the trunk has
            them, and costs more arithmetic; the coupling layer, the tail and what is stored stay the same. 0, or a
            size not above r: none, the paper's native input.

    Raises:
        ValueError: for a resolution without coupling layer, an unknown unit, a key of `own` that is no shared
            parameter, or an inner size that does not fit.
    """

    def __init__(
        self,
        trunk: nn.Module,
        resolutions: Iterable[int] = (28, 14, 7),
        *,
        tail_from: str | Mapping[int, str] | None = None,
        interpolation: str = "bilinear",
        own: Mapping[int, Iterable[str]] | None = None,
        inner_size: int | Mapping[int, int] = 0,
    ):
        super().__init__()
        self.trunk = adopt(trunk)
        self.trunk.requires_grad_(False).eval()
        self.interpolation = interpolation
        self.resolutions = tuple(sorted(set(resolutions), reverse=True))
        units, size = self.trunk.units(), self.trunk.canonical_size
        self.tail_from: dict[int, str] = {}
        self.inner_size: dict[int, int] = {}
        self.own: dict[int, tuple[str, ...]] = {}
        self.networks = nn.ModuleDict()
        for r in self.resolutions:
            tail = tail_from.get(r) if isinstance(tail_from, Mapping) else tail_from
            inner = inner_size.get(r, 0) if isinstance(inner_size, Mapping) else inner_size
            self.tail_from[r] = coupling.tail_of(units, size, r, tail)
            self.inner_size[r] = coupling.inner_of(units, size, r, inner)
            self.own[r] = tuple((own or {}).get(r, ()))
            self.networks[str(r)] = self.trunk.rebuild(r, self.inner_size[r])
            self._inherit(r)
        self._share()
        store_shared_once(self)

    def network(self, resolution: int) -> Backbone:
        """The network for r x r faces; at the canonical size, the trunk.

        Raises:
            ValueError: if there is no branch for this resolution.
        """
        if resolution == self.trunk.canonical_size:
            return self.trunk
        if resolution not in self.resolutions:
            sizes = ", ".join(map(str, (self.trunk.canonical_size, *self.resolutions)))
            raise ValueError(
                f"no branch for {resolution} px: this model takes {sizes} px; choose one with "
                "btnet.inference.select and resize the face to it with btnet.data.resize"
            )
        network = self.networks[str(resolution)]
        assert isinstance(network, Backbone)
        return network

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings [B, embedding_size], not normalised, of RGB images [B, 3, r, r] in [-1, 1].

        Raises:
            ValueError: for images that are not square or of a size without branch.
        """
        if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
            raise ValueError(f"images of shape {list(images.shape)}: expected a batch [B, 3, r, r]")
        embedding: Tensor = self.network(images.shape[-1])(images)
        return embedding

    def owned(self, resolution: int) -> dict[str, Tensor]:
        """The state entries (not copies) that this resolution has for itself: parameters and buffers."""
        network = self.network(resolution)
        state = network.state_dict(keep_vars=True)
        keys = [*network.owned_keys(self.tail_from[resolution]), *self.own.get(resolution, ())]
        return {key: state[key] for key in keys}

    def learnt_parameters(self, resolution: int, preset: str = "paper") -> dict[str, nn.Parameter]:
        """What the optimiser of this branch trains, by name.

        The preset "paper" is B_r and the weights and biases of every BatchNorm; "authors" leaves out the BatchNorms of
        the tail that their code does not train (`Backbone.fixed_by_authors`).
        """
        if preset not in PRESETS:
            raise ValueError(f"learnt {preset!r}: expected one of {', '.join(PRESETS)}")
        network = self.network(resolution)
        tail = network.tail_keys(self.tail_from[resolution]) if preset == "authors" else []
        fixed = network.fixed_by_authors(tail)
        return {
            key: value
            for key, value in self.owned(resolution).items()
            if isinstance(value, nn.Parameter) and value.requires_grad and key not in fixed
        }

    def bn_set(self, resolution: int) -> dict[str, Tensor]:
        """Copies of all BatchNorm weights, biases and running statistics of one resolution."""
        network = self.network(resolution)
        state = network.state_dict()
        return {key: state[key].clone() for key in network.norm_keys()}

    def load_bn_set(self, resolution: int, bn_set: Mapping[str, Tensor]) -> None:
        """Put a BN set in place.

        Raises:
            ValueError: for the trunk's resolution, whose embeddings must not move, or a set that does not fit.
        """
        if resolution == self.trunk.canonical_size:
            raise ValueError(
                f"{resolution} px is the trunk, which is frozen; BN sets of branches can be swapped"
            )
        network = self.network(resolution)
        state = network.state_dict()
        expected = {key: state[key] for key in network.norm_keys()}
        copy_tensors(bn_set, expected, f"BN set for {resolution} px")

    def trunk_fingerprint(self) -> str:
        """Fingerprint of the trunk's state, see `btnet.backbones.state.fingerprint`."""
        return fingerprint(self.trunk.state_dict())

    def options(self, resolution: int) -> dict[str, Any]:
        """What a branch was built with, by the names of `btnet.method.overlay.OPTIONS`."""
        return {
            "tail_from": self.tail_from[resolution],
            "interpolation": self.interpolation,
            "inner_size": self.inner_size[resolution],
        }

    def overlay(self, resolution: int) -> Overlay:
        """A copy, on the CPU, of what this resolution stores."""
        if resolution == self.trunk.canonical_size:
            raise ValueError(f"{resolution} px is the trunk; overlays exist for {list(self.resolutions)}")
        network = self.network(resolution)
        tensors = {
            key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for key, value in self.owned(resolution).items()
        }
        return Overlay(
            tensors={k: t.float() if t.is_floating_point() else t for k, t in tensors.items()},
            resolution=resolution,
            arch=dict(self.trunk.arch),
            canonical_size=self.trunk.canonical_size,
            dropped_keys=tuple(k for k in self.trunk.state_dict() if k not in network.state_dict()),
            num_learnt=sum(p.numel() for p in self.learnt_parameters(resolution).values()),
            trunk_fingerprint=self.trunk_fingerprint(),
            **self.options(resolution),
        )

    def load_overlay(self, overlay: Overlay) -> None:
        """Put a branch in place.

        Raises:
            ValueError: if it belongs to another trunk, has no network here, other options, or does not fit.
        """
        overlay.check_trunk(self.trunk_fingerprint(), f"overlay for {overlay.resolution} px")
        self._fill(overlay)

    def _fill(self, overlay: Overlay) -> None:
        where = f"overlay for {overlay.resolution} px"
        owned = self.owned(overlay.resolution)
        overlay.check_options(self.options(overlay.resolution), where)
        copy_tensors(overlay.tensors, owned, where)

    def full_state_dict(self, resolution: int) -> dict[str, Tensor]:
        """State dict that loads strictly into a backbone of the network's sizes (`fresh()`)."""
        return self.network(resolution).state_dict()

    def detached(self, resolution: int) -> Backbone:
        """A deep copy that shares nothing: for export, `half()` or another device."""
        network = self.network(resolution).fresh()
        state = {key: value.clone() for key, value in self.full_state_dict(resolution).items()}
        network.load_state_dict(state, assign=True)
        return network.eval()

    def save(self, folder: str | Path, **sections: Any) -> None:
        """Write a model folder (`btnet.method.saved_model.write_model`); `sections` go into its manifest."""
        write_model(
            Path(folder), self.trunk, map(self.overlay, self.resolutions), self.interpolation, **sections
        )

    @classmethod
    def load(cls, folder: str | Path) -> BTNet:
        """Read a folder that `save` or a training run wrote, in eval mode.

        Raises:
            FileNotFoundError, ValueError: as `btnet.method.saved_model.read_model`.
        """
        with naming(folder):
            saved = read_model(Path(folder))
            model = cls(saved.trunk, saved.resolutions, **saved.options)
            for overlay in saved.overlays:
                model._fill(overlay)
        return model.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the branches' mode. The trunk stays in eval mode: its statistics must not move."""
        super().train(mode)
        self.trunk.eval()
        return self

    def _inherit(self, resolution: int) -> None:
        """Start a branch from the trunk's values; what it has for itself in the tail does not learn."""
        network, state = self.network(resolution), self.trunk.state_dict()
        network.load_state_dict({key: state[key].clone() for key in network.state_dict()}, assign=True)
        shared = network.shared_parameters(self.tail_from[resolution])
        for key in self.own[resolution]:
            if key not in shared:
                raise ValueError(f"own: {key} is no parameter that the branch for {resolution} px shares")
            network.get_parameter(key).requires_grad_(False)

    def shared(self, resolution: int) -> list[str]:
        """State keys of the parameters that a branch shares with the trunk."""
        shared = self.network(resolution).shared_parameters(self.tail_from[resolution])
        return [key for key in shared if key not in self.own[resolution]]

    def _share(self) -> None:
        """Make the tails' parameters the trunk's own objects."""
        for r in self.resolutions:
            network = self.network(r)
            for key in self.shared(r):
                module, _, name = key.rpartition(".")
                network.get_submodule(module)._parameters[name] = self.trunk.get_parameter(key)
            network.moves_alone = False

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        for r in self.resolutions:
            self.network(r).moves_alone = True
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # Some conversions (to the meta device, say) make new parameters instead of filling the old ones.
        self._share()
        return self
