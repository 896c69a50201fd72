"""Many sets in one number: averages, gains, and how evenly a model loses accuracy across sets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["AccuracyDrop", "accuracy_drop", "average", "average_gain", "gain"]


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


def average(values: Iterable[float | None]) -> float | None:
    """Mean of what several sets gave; None (print "-") if one of them gave nothing, or there is none.

    A mean over fewer sets would not be comparable with the others in its column.
    """
    known = list(values)
    if not known or any(value is None or not np.isfinite(value) for value in known):
        return None
    return float(np.mean(np.array(known, dtype=np.float64)))


def gain(accuracy: float, accuracy_hr: float, accuracy_mm: float) -> float | None:
    """Share of the way from phi_hr to phi_mm that a model goes (eq. 4 across, eq. 5 at one resolution).

        (M(phi) - M(phi_hr)) / |M(phi_mm) - M(phi_hr)|

    The form is the update gain of backward-compatible training (Shen et al., CVPR 2020) with phi_mm in the
    place of the paragon; it was written from that, not copied from the paper's own lines. The denominator is
    absolute, so that the sign always says whether phi beats phi_hr, also where phi_mm falls behind phi_hr
    (its models were never made to match each other).

    Args:
        accuracy: M(phi) of the model in question (phi_bt, phi_mr) at a pair of resolutions such as 112&14
            (eq. 4) or 14&14 (eq. 5); accuracy, TAR or TPIR, all three in the same unit.
        accuracy_hr: M(phi_hr) at that pair.
        accuracy_mm: M(phi_mm) at that pair.

    Returns:
        1 where the model reaches phi_mm, more where it beats it, negative where it is worse than phi_hr;
        None (print "-") where phi_mm and phi_hr are equal or a value is not finite.
    """
    if not np.isfinite([accuracy, accuracy_hr, accuracy_mm]).all():
        return None
    reference = abs(accuracy_mm - accuracy_hr)
    # Equal accuracies may differ by the rounding of their means.
    if reference < 1e-12:
        return None
    return (accuracy - accuracy_hr) / reference


def average_gain(
    accuracy: Mapping[str, float | None],
    accuracy_hr: Mapping[str, float | None],
    accuracy_mm: Mapping[str, float | None],
) -> float | None:
    """Gain of the averages over sets (eq. 4, 5): the gain of Table 2's "average" columns.

    A mean of the sets' gains would let the set with the smallest denominator decide.

    Args:
        accuracy: M(phi) by set.
        accuracy_hr: M(phi_hr) by set.
        accuracy_mm: M(phi_mm) by set.

    Returns:
        As `gain`; None too where a value is missing.

    Raises:
        ValueError: if the three are not of the same sets.
    """
    if not accuracy.keys() == accuracy_hr.keys() == accuracy_mm.keys():
        raise ValueError(
            f"gain over sets {sorted(accuracy)}, {sorted(accuracy_hr)} and {sorted(accuracy_mm)}: expected the "
            "same sets of all three models"
        )
    means = [average(values.values()) for values in (accuracy, accuracy_hr, accuracy_mm)]
    known = [mean for mean in means if mean is not None]
    return gain(*known) if len(known) == 3 else None


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
