"""A branch as an overlay on the trunk's state dict: what it stores, its file, and the merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from btnet.backbones.state import fingerprint
from btnet.backbones.weights_file import OVERLAY, read_tensors
from btnet.files.atomic import replacing

# A reader of format 1 would not heed `inner_size`.
_FORMAT_VERSIONS = (1, 2)
_KINDS = {
    "arch": dict, "canonical_size": int, "resolution": int, "tail_from": str, "interpolation": str,
    "dropped_keys": list, "num_learnt": int, "trunk_fingerprint": str,
}  # fmt: skip
OPTIONS = ("tail_from", "interpolation", "inner_size")
"""What a branch was built with beside trunk and resolution: an overlay fits a network of the same options alone."""


@dataclass(frozen=True)
class Overlay:
    """All that one resolution stores beside its trunk.

    Attributes:
        tensors: the owned state keys, buffers included, on the CPU; and the parameters of the tail that this branch
            keeps for itself, see `own` of `btnet.method.btnet.BTNet`.
        resolution: r, the size in px of the faces it takes.
        arch: keyword arguments of the trunk's backbone.
        canonical_size: the trunk's input size in px.
        tail_from: unit where the shared tail starts.
        interpolation: how the faces it was trained on were made from larger ones.
        dropped_keys: trunk keys that do not exist at this resolution.
        num_learnt: elements that receive gradients, the paper's count of parameters.
        trunk_fingerprint: of the trunk it belongs to, see `fingerprint`.
        inner_size: px that the branch enlarges its faces to before its first convolution; 0: it does not.
    """

    tensors: dict[str, Tensor]
    resolution: int
    arch: dict[str, Any]
    canonical_size: int
    tail_from: str
    interpolation: str
    dropped_keys: tuple[str, ...]
    num_learnt: int
    trunk_fingerprint: str
    inner_size: int = 0

    @property
    def num_stored(self) -> int:
        """Elements in the file: learnt parameters, fixed ones and running statistics."""
        return sum(t.numel() for t in self.tensors.values())

    @property
    def num_bytes(self) -> int:
        """Bytes the tensors take in the file."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def merge(self, trunk_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """State dict of the whole network: (trunk - dropped) | overlay, in the trunk's order.

        Raises:
            ValueError: if the trunk is not the one this overlay belongs to.
        """
        self.check_trunk(fingerprint(trunk_state))
        kept = {key: value for key, value in trunk_state.items() if key not in self.dropped_keys}
        return kept | self.tensors

    def check_trunk(self, found: str, where: str = "overlay") -> None:
        """Refuse a trunk other than the one this overlay was trained on.

        Raises:
            ValueError: if the fingerprints differ.
        """
        if found != self.trunk_fingerprint:
            raise ValueError(
                f"{where}: trained on trunk {self.trunk_fingerprint[:12]}, this trunk is {found[:12]}; "
                "load it with that trunk, or retrain the branch"
            )

    def check_options(self, here: Mapping[str, Any], where: str) -> None:
        """Refuse a network that was built with other options.

        Args:
            here: the network's value of each of `OPTIONS`.
            where: the overlay, for the message.

        Raises:
            ValueError: if one differs.
        """
        for name in OPTIONS:
            if getattr(self, name) != here[name]:
                raise ValueError(
                    f"{where}: trained with {name}={getattr(self, name)!r}, this model has {here[name]!r}; build the "
                    f"BTNet with the overlay's {name}"
                )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        metadata = {
            "format_version": 1,
            **{name: getattr(self, name) for name in _KINDS},
            "digest": fingerprint(self.tensors),
            "adapters": [],  # reserved
        }
        if self.inner_size:
            metadata |= {"format_version": 2, "inner_size": self.inner_size}
        with replacing(Path(path)) as temporary:
            save_file(self.tensors, str(temporary), {OVERLAY: json.dumps(metadata)})

    @classmethod
    def load(cls, path: str | Path) -> Overlay:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, of another kind, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such overlay file")
        metadata, tensors = read_tensors(path, OVERLAY)
        if not metadata:
            raise ValueError(f"{path}: a safetensors file, but not an overlay (no `btnet` metadata)")
        missing = [name for name in ("format_version", *_KINDS, "digest", "adapters") if name not in metadata]
        if missing:
            raise ValueError(
                f"{path}: the overlay's metadata lacks {', '.join(missing)}; export the overlay again"
            )
        if metadata["format_version"] not in _FORMAT_VERSIONS:
            raise ValueError(
                f"{path}: overlay format {str(metadata['format_version'])[:20]}, this version reads "
                f"{' and '.join(map(str, _FORMAT_VERSIONS))}; update btnet"
            )
        if metadata["adapters"] != []:
            raise ValueError(
                f"{path}: a branch with adapters in its tail, which this version does not have; train it without"
            )
        if fingerprint(tensors) != metadata["digest"]:
            raise ValueError(
                f"{path}: the tensors do not match their checksum, the file is damaged; copy it again"
            )
        found = {name: metadata.get(name, 0) for name in (*_KINDS, "inner_size")}
        for name, kind in {**_KINDS, "inner_size": int}.items():
            # A size in px that a file states fits into 16 bits.
            if type(found[name]) is not kind or (name == "inner_size" and not 0 <= found[name] < 1 << 16):
                raise ValueError(
                    f"{path}: {name} is {str(found[name])[:20]} in the overlay's metadata, expected a "
                    f"{kind.__name__}; export the overlay again"
                )
        found["arch"] = {k: tuple(v) if isinstance(v, list) else v for k, v in found["arch"].items()}
        return cls(tensors=tensors, **found | {"dropped_keys": tuple(found["dropped_keys"])})
