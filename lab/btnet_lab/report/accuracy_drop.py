"""How much accuracy a model loses across sets, and how evenly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["AccuracyDrop", "accuracy_drop"]


@dataclass(frozen=True)
class AccuracyDrop:
    """What a model loses against a reference, set by set, in the unit of the accuracies.

    Attributes:
        by_set: reference minus model, in the order of the reference.
        mean: over the sets.
        spread: the largest drop minus the smallest.
        std: (population) standard deviation over the sets.
    """

    by_set: dict[str, float]
    mean: float
    spread: float
    std: float


def accuracy_drop(reference: Mapping[str, float], accuracy: Mapping[str, float]) -> AccuracyDrop:
    """How much a model loses on each set, and how unevenly.

    Args:
        reference: accuracy by set, e.g. at 112&112.
        accuracy: of the same sets, e.g. at 112&14.

    Returns:
        The drops and their spread.

    Raises:
        ValueError: if there is no set, or the sets differ.
    """
    if not reference or reference.keys() != accuracy.keys():
        raise ValueError(
            f"drop from sets {sorted(reference)} to sets {sorted(accuracy)}: expected the same, at least one"
        )
    drops = {name: reference[name] - accuracy[name] for name in reference}
    values = np.array(list(drops.values()))
    return AccuracyDrop(drops, float(values.mean()), float(np.ptp(values)), float(values.std()))
