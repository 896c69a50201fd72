"""May a new model probe a gallery that an old model embedded? The empirical compatibility criterion.

Shen et al., "Towards Backward-Compatible Representation Learning" (CVPR 2020), section 3.2: the new model is
compatible if M(new, old) > M(old, old), M being a metric of probes embedded by the first model against a
gallery embedded by the second. Here per resolution: galleries are 112 px faces, probes are seen at r px.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_normalise
from btnet.evaluation.rates import is_measurable
from btnet.evaluation.verification import kfold_accuracy, pair_scores, tar_at_far
from btnet.serving.face_model import FaceModel

__all__ = ["TOLERANCE", "Compatibility", "Criterion", "check_compatibility"]

TOLERANCE: Final = 1e-4
"""Largest difference of a normalised embedding between torch and onnxruntime; `export_onnx` promises it."""


@dataclass(frozen=True)
class Criterion:
    """The criterion at one resolution.

    Attributes:
        resolution: of the probes in px.
        new_old: M(new, old): probes by the new model, gallery by the old one.
        old_old: M(old, old).
        satisfied: whether M(new, old) > M(old, old), or the canonical embeddings are the same.
    """

    resolution: int
    new_old: float
    old_old: float
    satisfied: bool


@dataclass(frozen=True)
class Compatibility:
    """What was found.

    Attributes:
        criteria: one per resolution; none where the embeddings have different lengths.
        same_trunk: whether both models have the trunk of one fingerprint.
        identical: whether all canonical embeddings are equal bit by bit.
        difference: the largest one between them, normalised.
        within_tolerance: whether they count as the same: bit for bit within a runtime, below `TOLERANCE` across.
        problem: why no comparison is possible at all, if so.
    """

    criteria: tuple[Criterion, ...]
    same_trunk: bool
    identical: bool
    difference: float
    within_tolerance: bool
    problem: str | None = None

    @property
    def compatible(self) -> bool:
        """Whether the criterion holds at every resolution."""
        return self.problem is None and all(criterion.satisfied for criterion in self.criteria)


def check_compatibility(
    old: FaceModel,
    new: FaceModel,
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    resolutions: Sequence[int],
    *,
    same_runtime: bool,
    far: float | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda _: None,
) -> Compatibility:
    """Compare the models on labelled pairs.

    Of each pair the first face is the gallery's, at canonical size, and the second the probe, shrunk to r px
    by its model's own interpolation, for the network that serving selects; embeddings of mirror images are added.

    Args:
        old: embedded the gallery.
        new: embeds the probes.
        images: uint8 RGB [2 P, H, W, 3], as `btnet.data.read_bin` gives them.
        issame: whether a pair shows one person, [P].
        resolutions: of the probes in px.
        same_runtime: whether bits can be expected to be equal where the networks are.
        far: M is the true accept rate at this false accept rate; 10-fold accuracy by default.
        batch_size: faces per forward pass, for both models.
        progress: called with the number of faces embedded.

    Raises:
        ValueError: for a rate that the pairs cannot carry, or as `kfold_accuracy` and `btnet.data.resize`.
    """
    num_impostors = int(np.count_nonzero(~np.asarray(issame, np.bool_)))
    if far is not None and not is_measurable(far, num_impostors):
        raise ValueError(
            f"FAR {far:g}: {num_impostors} impostor pairs cannot measure it; give more, or a larger rate by "
            "`btnet check-compatibility --far`"
        )
    same_trunk = old.trunk_fingerprint == new.trunk_fingerprint
    if (old.embedding_size, old.canonical_size) != (new.embedding_size, new.canonical_size):
        problem = (
            f"the new model gives {new.embedding_size} values for {new.canonical_size} px faces, "
            f"the old one {old.embedding_size} for {old.canonical_size} px"
        )
        return Compatibility((), same_trunk, False, float("inf"), False, problem)

    def embedded(model: FaceModel, side: int, resolution: int) -> NDArray[np.float32]:
        return model.embed(images[side::2], resolution, batch_size=batch_size, mirror=True, progress=progress)

    def metric(probes: NDArray[np.float32]) -> float:
        if far is None:
            return kfold_accuracy(gallery, probes, issame)[0]
        return tar_at_far(pair_scores(gallery, probes), issame, far)

    size = old.canonical_size
    gallery, renewed = embedded(old, 0, size), embedded(new, 0, size)
    difference = float(np.abs(unit_normalise(gallery).astype(np.float64) - unit_normalise(renewed)).max())
    identical = bool(np.array_equal(gallery, renewed))
    within = identical or (not same_runtime and difference < TOLERANCE)
    criteria = []
    for resolution in resolutions:
        new_old = metric(embedded(new, 1, resolution))
        old_old = metric(embedded(old, 1, resolution))
        # The same embeddings score the same, so `>` cannot hold, and need not.
        satisfied = new_old > old_old or (resolution == size and within)
        criteria.append(Criterion(resolution, new_old, old_old, satisfied))
    return Compatibility(tuple(criteria), same_trunk, identical, difference, within)
