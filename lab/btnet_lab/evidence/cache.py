"""One teacher cache for all branches of a trunk: every coupling layer and the embedding, made in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.data.faces import open_faces
from btnet.training.distributed import distributed_context
from btnet.training.teacher import TrunkTeacher
from btnet.training.teacher_cache import cached

__all__ = ["build_cache", "cache_bytes"]

_BYTES = 2 * 2  # two views, float16


def cache_bytes(trunk: Backbone, resolutions: Sequence[int], num_images: int) -> int:
    """What the cache will take on the disk."""
    size = trunk.input_size
    with torch.no_grad():
        maps = trunk.feature_maps(torch.zeros(1, 3, size, size), _couplings(trunk, resolutions))
    values = sum(value.numel() for value in maps.values()) + trunk.embedding_size
    return _BYTES * values * num_images


def build_cache(config: Any, resolutions: Sequence[int]) -> None:
    """Make what is missing of the cache that a run's configuration names, for its branches and their sisters.

    Args:
        config: of a run with `teacher_cache`.
        resolutions: of the branches that will read it.

    Raises:
        ValueError, OSError: as `btnet.training.teacher_cache.cached`.
    """
    trunk = load_trunk(config.trunk)
    with distributed_context(config.device, config.precision, channels_last=config.channels_last) as context:
        context.place(trunk)
        teacher = TrunkTeacher(trunk, _couplings(trunk, resolutions), True, context)
        cached(
            teacher,
            Path(config.teacher_cache),
            open_faces(config.rec, corrupt=config.corrupt, native_crops=config.native_crops),
            trunk_fingerprint=fingerprint(trunk.state_dict()),
            interpolation=config.interpolation,
            num_workers=config.num_workers,
        )


def _couplings(trunk: Backbone, resolutions: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted(trunk.coupling_layer(resolution) for resolution in resolutions))
