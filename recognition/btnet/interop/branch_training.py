"""A branch in arcface_torch's own training loop: teacher tap, branch distillation, frozen classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from btnet.backbones.backbone import Backbone
from btnet.backbones.trunk_file import load_trunk
from btnet.backbones.unmeasured import check_measured
from btnet.data.views import resize_normalised
from btnet.interop.arcface_torch import merge_classifier_shards, shard_sizes
from btnet.loss import branch_distillation, load_classifier
from btnet.loss.classifier_file import classifier_file
from btnet.method.btnet import BTNet

__all__ = ["BranchTraining", "branch_or", "distillation", "freeze_classifier"]

_WEIGHT: Final = 0.5  # of the branch distillation (BTNet eq. 3)


def branch_or(backbone: nn.Module, config: Mapping[str, Any]) -> nn.Module:
    """The branch that arcface_torch's loop is to train, or its own backbone if the config names no `resolution`.

    Args:
        backbone: what the loop has built; the branch goes to its device.
        config: of the loop; `resolution` in px, `trunk` (see `BranchTraining`), `fp16`.
    """
    if not config.get("resolution"):
        return backbone
    branch = BranchTraining(config["trunk"], config["resolution"], fp16=bool(config.get("fp16")))
    return branch.to(next(backbone.parameters()).device)


def freeze_classifier(backbone: nn.Module, head: nn.Module, config: Mapping[str, Any]) -> None:
    """Give `PartialFC_V2` the old classifier `config["classifier"]`, and freeze it, where a branch is trained."""
    branch = _branch(backbone)
    if branch is not None:
        branch.freeze_classifier(head, config["classifier"])


def distillation(backbone: nn.Module) -> Tensor | float:
    """What a branch adds to the loss, see `BranchTraining.distillation`; 0 for another backbone."""
    branch = _branch(backbone)
    return 0.0 if branch is None else branch.distillation()


def _branch(backbone: nn.Module) -> BranchTraining | None:
    inner = getattr(backbone, "module", backbone)
    return inner if isinstance(inner, BranchTraining) else None


class BranchTraining(nn.Module):
    """Stands where `train_v2.py` has its backbone: a batch of 112 px faces in, embeddings of their r x r views out.

    In train mode each forward also runs the frozen trunk to the coupling layer and keeps the branch distillation
    (BTNet eq. 2) for `distillation()`. Only the branch learns; the tail is the trunk's and frozen. Its state dict is
    that of the whole network for r px in arcface_torch's keys, so that what the loop saves as `model.pt` loads as
    `btnet_r50_14` and converts to an overlay (`btnet convert-authors`).

    Args:
        trunk: file of the trunk, or the folder with its `model.pt`.
        resolution: r in px.
        fp16: forward under float16 autocast, as arcface_torch's networks.

    Raises:
        FileNotFoundError: if there is no trunk.
        ValueError: for a damaged trunk, or a resolution it has no coupling layer for.
    """

    def __init__(self, trunk: str | Path, resolution: int, *, fp16: bool = False) -> None:
        super().__init__()
        self.model = BTNet(load_trunk(trunk), (resolution,))
        check_measured(self.model.network(resolution), trunk)
        self.resolution = resolution
        self.coupling = self.model.trunk.coupling_layer(resolution)
        self.fp16 = fp16
        self._distillation: Tensor | None = None
        self.train()

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings [B, D], not normalised, of RGB faces in [-1, 1], [B, 3, 112, 112].

        Raises:
            ValueError: for faces of another size.
        """
        size = self.model.trunk.canonical_size
        if images.shape[-2:] != (size, size):
            raise ValueError(
                f"images of shape {list(images.shape)}: expected [B, 3, {size}, {size}], the trunk's size; the loop's "
                "faces are shrunk here"
            )
        views = resize_normalised(images, self.resolution, self.model.interpolation)
        with torch.autocast(images.device.type, torch.float16, enabled=self.fp16 and images.is_cuda):
            if not self.training:
                embedding: Tensor = self.network(views)
                return embedding
            with torch.no_grad():
                teacher = self.model.trunk.forward_to(images, self.coupling)
            embedding, taps = self.network(views, taps=(self.coupling,))
        student = taps[self.coupling]
        self._distillation = _WEIGHT * branch_distillation(student, teacher)
        return embedding

    def distillation(self) -> Tensor:
        """Weighted branch distillation of the last batch, a scalar to add to the loss; once for each forward.

        Raises:
            RuntimeError: if no batch was seen in train mode since.
        """
        found, self._distillation = self._distillation, None
        if found is None:
            raise RuntimeError("no batch in train mode since the last call; call it once after each forward")
        return found

    def freeze_classifier(self, head: nn.Module, source: str | Path) -> None:
        """Give `PartialFC_V2` the trunk's class centres, the old classifier, and freeze them.

        Args:
            head: of this rank, with `weight`, `class_start`, `num_local`, `rank` and `world_size`.
            source: `classifier.safetensors` or a run folder that holds one; or a folder with the shards of a run of
                arcface_torch on any number of ranks.

        Raises:
            FileNotFoundError: if there is no classifier.
            ValueError: if it belongs to another trunk, or has another number of classes or features than the head.
        """
        shard: Any = head
        rows = (shard.class_start, shard.class_start + shard.num_local)
        path = classifier_file(source)
        if path.is_file() or not Path(source).is_dir():
            found = load_classifier(path, expected_trunk=self.model.trunk_fingerprint(), rows=rows)
            weight, num_classes = found.weight, len(found.class_names)
        else:
            merged = merge_classifier_shards(source)
            weight, num_classes = merged[slice(*rows)], len(merged)
        share = shard_sizes(num_classes, shard.world_size)[shard.rank]
        if share != shard.num_local or weight.shape != shard.weight.shape:
            raise ValueError(
                f"{source}: {num_classes} class centres of {weight.shape[1]} values, of which rank {shard.rank} of "
                f"{shard.world_size} would hold {share}, but its head has {list(shard.weight.shape)}; set num_classes "
                "and embedding_size as in the trunk's training"
            )
        with torch.no_grad():
            shard.weight.copy_(weight)
        shard.weight.requires_grad_(False)

    @property
    def network(self) -> Backbone:
        """The branch's network, for r x r faces."""
        return self.model.network(self.resolution)

    def train(self, mode: bool = True) -> BranchTraining:
        """Set the branch's mode; the trunk stays in eval mode."""
        super().train(mode)
        self.model.train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """State of the whole network for r px, in arcface_torch's keys."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Load what `state_dict` gave.

        Raises:
            ValueError: if its tail is not the trunk's.
        """
        own = self.network.state_dict()
        for key in self.network.shared_parameters(self.model.tail_from[self.resolution]):
            if key in state_dict and not torch.equal(state_dict[key].to(own[key].device), own[key]):
                raise ValueError(
                    f"{key} is not the trunk's; resume with the trunk this branch was trained from"
                )
        return self.network.load_state_dict(state_dict, *args, **kwargs)
