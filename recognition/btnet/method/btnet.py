"""BTNet: a frozen trunk and one network per resolution that shares the tail's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import check_tensors, fingerprint
from btnet.backbones.trunk_file import adopt, load_trunk, write_weights
from btnet.files.text import naming
from btnet.method import coupling
from btnet.method.overlay import Overlay
from btnet.model_folder.manifest import read_manifest, write_manifest
from btnet.model_folder.model_files import MODEL, is_listed, model_draft, overlay_file, warn_of_orphans

_Option = TypeVar("_Option")
PRESETS = ("paper", "authors")


class BTNet(nn.Module):
    """Branch-to-Trunk network ("Learning Unified Representations for Multi-Resolution Face Recognition").

    The network of resolution r is an ordinary backbone with `input_size=r`. From `tail_from` on, its
    parameters other than BatchNorm *are* the trunk's (the same `nn.Parameter` objects), frozen; all else is
    its own and starts from the trunk's values. The trunk is never touched: it stays in eval mode and
    receives no gradient.

    Args:
        trunk: a backbone of ours, or arcface_torch's own instance, whose tensors are then shared, not copied.
            Its parameters are frozen.
        resolutions: sizes in px to have branches for.
        tail_from: unit where the shared tail starts, for all resolutions or per resolution. Default: behind
            the coupling layer (paper, section 3.2). A unit before the coupling layer is shared with stride 1.
            "none": nothing is shared.
        interpolation: how low-resolution faces are made; recorded in the overlays.
        own: parameters in the tail, by resolution and state key, that a branch has for itself all the same. They
            do not learn: networks trained elsewhere may hold other values there than the trunk.
        inner_size: px that branches enlarge their faces to before the first convolution, for all resolutions or per
            resolution: the canonical size or one of the pyramid. The larger, the more strides are the trunk's own, the
            nearer a branch starts to it, and the more it computes; the coupling layer, the tail and what is stored
            stay. 0, or a size not above r: none, the paper's native input.

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
        self.tail_from = {
            r: coupling.tail_of(units, size, r, _of_resolution(r, tail_from, None)) for r in self.resolutions
        }
        self.inner_size = {
            r: coupling.inner_of(units, size, r, _of_resolution(r, inner_size, 0)) for r in self.resolutions
        }
        self.networks = nn.ModuleDict(
            {str(r): self.trunk.rebuild(r, self.inner_size[r]) for r in self.resolutions}
        )
        self.own = {r: tuple((own or {}).get(r, ())) for r in self.resolutions}
        for r in self.resolutions:
            self._inherit(r)
            self._check_own(r)
        self._share()
        self.register_state_dict_post_hook(_drop_shared)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_restore_shared)  # type: ignore[no-untyped-call]

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
        """Embed a batch with the network of its spatial size.

        Args:
            images: RGB in [-1, 1], [B, 3, r, r].

        Returns:
            Embeddings [B, embedding_size], not normalised.

        Raises:
            ValueError: for images that are not square or of a size without branch.
        """
        if images.ndim != 4 or images.shape[-1] != images.shape[-2]:
            raise ValueError(f"images of shape {list(images.shape)}: expected a batch [B, 3, r, r]")
        embedding: Tensor = self.network(images.shape[-1])(images)
        return embedding

    def owned(self, resolution: int) -> dict[str, Tensor]:
        """The state entries (parameters and buffers themselves, no copy) that this resolution has for itself."""
        network = self.network(resolution)
        state = network.state_dict(keep_vars=True)
        keys = [*network.owned_keys(self.tail_from[resolution]), *self.own.get(resolution, ())]
        return {key: state[key] for key in keys}

    def learnt_parameters(self, resolution: int, preset: str = "paper") -> dict[str, nn.Parameter]:
        """What the optimiser of this branch trains, by name.

        Args:
            resolution: r.
            preset: "paper": B_r and the weights and biases of every BatchNorm; "authors": likewise, without the
                BatchNorms of the tail that their code leaves as they are (`Backbone.fixed_by_authors`).

        Raises:
            ValueError: for another preset, or a resolution without branch.
        """
        if preset not in PRESETS:
            raise ValueError(f"learnt {preset!r}: expected one of {', '.join(PRESETS)}")
        network = self.network(resolution)
        tail = network.tail_keys(self.tail_from[resolution])
        fixed = set(network.fixed_by_authors(tail)) if preset == "authors" else set()
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
        state = self.network(resolution).state_dict()
        expected = {key: state[key] for key in self.network(resolution).norm_keys()}
        check_tensors(bn_set, expected, f"BN set for {resolution} px")
        _copy(bn_set, expected)

    def trunk_fingerprint(self) -> str:
        """Fingerprint of the trunk's state, see `btnet.backbones.state.fingerprint`."""
        return fingerprint(self.trunk.state_dict())

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
            tail_from=self.tail_from[resolution],
            interpolation=self.interpolation,
            dropped_keys=tuple(k for k in self.trunk.state_dict() if k not in network.state_dict()),
            num_learnt=sum(p.numel() for p in self.learnt_parameters(resolution).values()),
            trunk_fingerprint=self.trunk_fingerprint(),
            inner_size=self.inner_size[resolution],
        )

    def load_overlay(self, overlay: Overlay) -> None:
        """Put a branch in place.

        Raises:
            ValueError: if it belongs to another trunk, has no network here, another tail, or does not fit.
        """
        self._load_overlay(overlay, self.trunk_fingerprint())

    def _load_overlay(self, overlay: Overlay, trunk_fingerprint: str) -> None:
        where = f"overlay for {overlay.resolution} px"
        overlay.check_trunk(trunk_fingerprint, where)
        self.network(overlay.resolution)
        if overlay.tail_from != self.tail_from[overlay.resolution]:
            raise ValueError(
                f"{where}: its tail starts at {overlay.tail_from}, here at {self.tail_from[overlay.resolution]}; "
                "build the BTNet with tail_from of the overlay"
            )
        if overlay.interpolation != self.interpolation:
            raise ValueError(
                f"{where}: trained on {overlay.interpolation} views, this model is for {self.interpolation}; "
                "build the BTNet with interpolation of the overlay"
            )
        if overlay.inner_size != self.inner_size[overlay.resolution]:
            raise ValueError(
                f"{where}: its inner size is {overlay.inner_size} px, this model's "
                f"{self.inner_size[overlay.resolution]} px; build the BTNet with inner_size of the overlay"
            )
        owned = self.owned(overlay.resolution)
        check_tensors(overlay.tensors, owned, where)
        _copy(overlay.tensors, owned)

    def full_state_dict(self, resolution: int) -> dict[str, Tensor]:
        """State dict that loads strictly into a backbone of the network's sizes (`fresh()`)."""
        return self.network(resolution).state_dict()

    def detached(self, resolution: int) -> Backbone:
        """A deep copy that shares nothing: for export, `half()` or another device."""
        network = self.network(resolution).fresh()
        state = self.full_state_dict(resolution)
        network.load_state_dict({k: v.clone() for k, v in state.items()}, assign=True)
        return network.eval()

    def save(self, folder: str | Path, **sections: Any) -> None:
        """Write `model.pt`, one overlay per resolution and `btnet.json`, which lists them; all of them or none.

        A model that was there is replaced as a whole (`btnet.model_folder.model_files.model_draft`).

        Args:
            folder: created if absent.
            sections: further entries of the manifest, such as `config`.

        Raises:
            ValueError: if an ONNX bundle lies in `folder`.
        """
        if self.trunk.origin:
            sections["trunk_origin"] = dict(self.trunk.origin)
        with model_draft(Path(folder)) as draft:
            write_weights(draft / MODEL, self.trunk.state_dict(), self.trunk.origin)
            for r in self.resolutions:
                self.overlay(r).save(draft / overlay_file(r))
            write_manifest(
                draft,
                arch=self.trunk.arch,
                trunk_fingerprint=self.trunk_fingerprint(),
                resolutions=list(self.resolutions),
                interpolation=self.interpolation,
                **sections,
            )

    @classmethod
    def load(cls, folder: str | Path) -> BTNet:
        """Read a folder that `save` or a training run wrote, in eval mode.

        A branch's file that the manifest does not know is left out, with a warning.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if a file is damaged, not the one that the manifest lists, or does not belong to the trunk.
        """
        folder = Path(folder)
        with naming(folder):
            manifest = read_manifest(folder)
            trunk = load_trunk(folder)
            paths = {r: folder / overlay_file(r) for r in manifest["resolutions"]}
            overlays = [Overlay.load(path) for path in paths.values()]
            model = cls(
                trunk,
                manifest["resolutions"],
                tail_from={o.resolution: o.tail_from for o in overlays},
                interpolation=manifest["interpolation"],
                own={o.resolution: _own_in_tail(trunk, o) for o in overlays},
                inner_size={o.resolution: o.inner_size for o in overlays},
            )
            found = model.trunk_fingerprint()
            if found != manifest["trunk_fingerprint"]:
                raise ValueError("model.pt is not the trunk that the manifest names")
            for overlay, path in zip(overlays, paths.values(), strict=True):
                model._load_overlay(overlay, found)
                is_listed(folder, path)
        warn_of_orphans(folder, manifest["resolutions"])
        return model.eval()

    def train(self, mode: bool = True) -> Self:
        """Set the branches' mode. The trunk stays in eval mode: its statistics must not move."""
        super().train(mode)
        self.trunk.eval()
        return self

    def _inherit(self, resolution: int) -> None:
        network = self.network(resolution)
        state = self.trunk.state_dict()
        network.load_state_dict({key: state[key].clone() for key in network.state_dict()}, assign=True)

    def _check_own(self, resolution: int) -> None:
        network = self.network(resolution)
        shared = network.shared_parameters(self.tail_from[resolution])
        for key in self.own[resolution]:
            if key not in shared:
                raise ValueError(
                    f"{key}: no parameter that the network for {resolution} px shares with the trunk; `own` lists "
                    "such parameters"
                )
            network.get_parameter(key).requires_grad_(False)

    def _shared(self, resolution: int) -> list[str]:
        shared = self.network(resolution).shared_parameters(self.tail_from[resolution])
        return [key for key in shared if key not in self.own[resolution]]

    def _share(self) -> None:
        for r in self.resolutions:
            network = self.network(r)
            for key in self._shared(r):
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


def _of_resolution(resolution: int, value: _Option | Mapping[int, _Option], default: _Option) -> _Option:
    return value.get(resolution, default) if isinstance(value, Mapping) else value


def _own_in_tail(trunk: Backbone, overlay: Overlay) -> list[str]:
    """Parameters an overlay holds although its tail shares them by rule."""
    by_rule = set(trunk.owned_keys(overlay.tail_from))
    return [key for key in overlay.tensors if key not in by_rule]


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for key, tensor in target.items():
            tensor.copy_(source[key])


def _shared_keys(model: BTNet, prefix: str) -> list[tuple[str, str]]:
    return [
        (f"{prefix}networks.{r}.{key}", f"{prefix}trunk.{key}")
        for r in model.resolutions
        for key in model._shared(r)
    ]


def _drop_shared(model: nn.Module, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]) -> None:
    assert isinstance(model, BTNet)
    for key, _ in _shared_keys(model, prefix):
        state.pop(key, None)


def _restore_shared(model: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    assert isinstance(model, BTNet)
    for key, trunk_key in _shared_keys(model, prefix):
        if trunk_key in state:
            state[key] = state[trunk_key]
