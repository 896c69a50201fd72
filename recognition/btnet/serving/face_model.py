"""One model: its networks by the size of face that each takes, in torch or in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.method.btnet import BTNet
from btnet.serving.embedding import Embed, Network, embed_images, network_fingerprint
from btnet.serving.selection import select

__all__ = ["FaceModel"]


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Embeds faces that are seen at any size, each by the network of its size.

    phi_hr and phi_mr are a trunk, phi_bt is a trunk with branches. phi_mm is a network trained for each size, which
    takes that size only.

    Attributes:
        name: in tables and files.
        networks: by input size in px, largest first.
        canonical_size: of the trunk, in px.
        interpolation: how the low-resolution faces it was trained on were made; None where that is not recorded.
        role: that its run gave it: phi_hr, phi_mm, phi_mr, phi_bt ...; "" where none is recorded.
        matched: whether it is a phi_mm: a face of another size than its networks' has no answer.
        rule: which network takes a face of a size that no network has for its own (see `select`).
        forced: the network, by its input size, that embeds every face below the canonical size; None: the rule says.
        torch_module: trunk and branches, or the one network, that `networks` were taken of; None: exported files.
    """

    name: str
    networks: Mapping[int, Network]
    canonical_size: int
    interpolation: str | None = None
    role: str = ""
    matched: bool = False
    rule: str = "ceil"
    forced: int | None = None
    torch_module: BTNet | Backbone | None = None

    @classmethod
    def of(
        cls, module: BTNet | Backbone, name: str = "", *, interpolation: str | None = None, role: str = ""
    ) -> FaceModel:
        """The model of networks in memory, which it shares.

        Args:
            module: trunk and branches, or one network.
            name: as the attribute, and so the rest.
            interpolation: of one network; trunk and branches know their own.
            role: as the attribute.
        """
        if isinstance(module, BTNet):
            size = module.trunk.canonical_size
            networks: dict[int, Network] = {r: module.network(r) for r in (size, *module.resolutions)}
            return cls(name, networks, size, module.interpolation, role, torch_module=module)
        matched = module.input_size != module.canonical_size
        networks = {module.input_size: module}
        return cls(name, networks, module.canonical_size, interpolation, role, matched, torch_module=module)

    @property
    def module(self) -> BTNet | Backbone:
        """Trunk and branches, or the one network, in torch.

        Raises:
            ValueError: for exported files.
        """
        if self.torch_module is None:
            raise ValueError(
                f"{self.name}: exported files cannot be changed or exported; give the run's folder"
            )
        return self.torch_module

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sizes in px that a network takes as they are, largest first."""
        return tuple(self.networks)

    @property
    def embedding_size(self) -> int:
        """Length of the embeddings, D."""
        return next(iter(self.networks.values())).embedding_size

    @property
    def kind(self) -> str:
        """What it is: "branches" (on a trunk), "trunk", or "native" (networks of one size each)."""
        if self.matched:
            return "native"
        return "branches" if len(self.networks) > 1 else "trunk"

    @property
    def views(self) -> str:
        """How faces are resized for it: as it was trained, bilinear where that is not recorded."""
        return self.interpolation or "bilinear"

    @property
    def trunk_fingerprint(self) -> str:
        """Says which gallery the embeddings belong to."""
        return self.fingerprint(self.canonical_size)

    def fingerprint(self, resolution: int) -> str:
        """Of the whole network that takes this size (see `btnet.backbones.state.fingerprint`)."""
        return network_fingerprint(self.networks[resolution])

    def to(self, device: str | torch.device) -> None:
        """Move all networks; exported ones stay on the CPU."""
        # Branches share their trunk's memory and move with it.
        together = isinstance(self.torch_module, BTNet)
        for module in (self.module,) if together else self.networks.values():
            module.to(device)

    def choose(self, size: int) -> int | None:
        """Which network embeds a square face of `size` px: its input size; None where the model has no answer."""
        if self.matched:
            return size if size in self.networks else None
        if self.forced is not None and size < self.canonical_size:
            return self.forced if self.forced in self.networks else None
        return select(size, size, self.resolutions, rule=self.rule)

    def network_for(self, size: int) -> Network:
        """The network that embeds a square face of `size` px.

        Raises:
            ValueError: if the model has none.
        """
        chosen = self.choose(size)
        if chosen is None:
            raise ValueError(
                f"{self.name} takes {', '.join(map(str, self.resolutions))} px faces only, not {size} px; give phi_hr "
                "for the canonical size (`btnet evaluate --high-resolution`), or leave the pair out"
            )
        return self.networks[chosen]

    def network_name(self, size: int) -> str:
        """What results call the network that embeds a square face of `size` px; errors as `network_for`."""
        chosen = self.network_for(size).input_size
        if self.matched:
            return "high-resolution model" if chosen == self.canonical_size else f"native r{chosen}"
        name = "trunk" if chosen == self.canonical_size else f"branch r{chosen}"
        return name if chosen == size else f"{name}, faces resized to {chosen} px"

    def embed(
        self,
        faces: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        size: int | NDArray[np.int64],
        *,
        interpolation: str | None = None,
        batch_size: int = 32,
        mirror: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        embed: Embed = embed_images,
    ) -> NDArray[np.float32]:
        """Embed faces seen at `size` px.

        Args:
            faces: uint8 RGB, a stack [N, H, W, 3] or a list of [H, W, 3], of any sizes.
            size: in px, that they are resized to first: one for all, or one each, int64 [N].
            interpolation: one of `btnet.data.INTERPOLATIONS`; None: as the model was trained.
            batch_size: faces per forward pass.
            mirror: add the embedding of the mirror image.
            progress: called with the number of faces embedded, after each batch.
            embed: `embed_images`, or one that knows some answers (`btnet.serving.feature_file.EmbeddingCache`).

        Returns:
            float32 [N, D] in the order of the faces, not normalised.

        Raises:
            ValueError: as `network_for` and `embed_images`.
        """
        sizes = np.broadcast_to(size, len(faces))
        embeddings = np.empty((len(faces), self.embedding_size), np.float32)
        for one in np.unique(sizes).tolist():
            rows = np.flatnonzero(sizes == one)
            embeddings[rows] = embed(
                self.network_for(one),
                faces if len(rows) == len(faces) else [faces[row] for row in rows.tolist()],
                view_size=one,
                interpolation=interpolation or self.views,
                batch_size=batch_size,
                mirror=mirror,
                progress=progress,
            )
        return embeddings
