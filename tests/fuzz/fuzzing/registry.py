"""All targets: whatever is read from outside is one of these."""

from __future__ import annotations

from typing import Final

from fuzzing import arrays, checkpoints, documents, graphs, lists, pickles, pictures, records, weights
from fuzzing.target import Target

TARGETS: Final[tuple[Target, ...]] = (
    *records.TARGETS, *pickles.TARGETS, *pictures.TARGETS, *weights.TARGETS, *checkpoints.TARGETS, *arrays.TARGETS,
    *graphs.TARGETS, *documents.TARGETS, *lists.TARGETS,
)  # fmt: skip
