"""From a configuration to the views that a run's networks learn from."""

from __future__ import annotations

from typing import Any

from btnet.backbones.backbone import Backbone
from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.degradation import Degradation
from btnet.data.views import BranchView, MultiResolution, View

__all__ = ["alignment_jitter", "branch_view", "trunk_view"]


def trunk_view(config: Any, network: Backbone) -> View:
    """What a trunk or a phi_mm learns from: faces of its size, or of random sizes (phi_mr)."""
    if not config.multi_resolution:
        return BranchView(network.input_size, interpolation=config.interpolation)
    return MultiResolution(
        config.multi_resolution,
        canonical_size=network.canonical_size,
        interpolation=config.interpolation,
        seed=config.seed,
    )


def alignment_jitter(config: Any, key: str) -> AlignmentJitter | None:
    """The errors of landmarks that a key asks for; None for none."""
    if not config[key]:
        return None
    from btnet.serving.alignment import template  # imports scikit-image

    return AlignmentJitter(config[key], template, seed=config.seed, key=key)


def branch_view(config: Any, resolution: int) -> View:
    """What a branch learns from: faces of its size, changed as the configuration says."""
    rest: dict[str, Any] = {"interpolation": config.interpolation, "seed": config.seed}
    jitter = alignment_jitter(config, "alignment_jitter")
    degradation = (
        Degradation(config.degradation, resolution=resolution, **rest) if config.degradation else None
    )
    changes = [change for change in (jitter, degradation) if change is not None]
    return BranchView(resolution, size_band=config.size_band, changes=changes, **rest)
