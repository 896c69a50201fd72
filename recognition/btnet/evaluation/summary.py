"""Many sets in one number: averages and gains."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["GainBaselines", "average", "gain_text", "gains"]


def average(values: Iterable[float | None]) -> float | None:
    """Mean of what several sets gave; None (print "-") if one of them gave nothing, or there is none.

    A mean over fewer sets would not be comparable with the others in its column.
    """
    known = list(values)
    if not known or any(value is None or not np.isfinite(value) for value in known):
        return None
    return float(np.mean(np.array(known, dtype=np.float64)))


@dataclass(frozen=True)
class GainBaselines:
    """What gains are counted from and measured by: names of models in a table; None: it has no such model.

    Attributes:
        high_resolution: phi_hr, whose own gain is 0.
        multi_resolution: phi_mr, whose gain across resolutions is 1 or -1 (eq. 4).
        matched: phi_mm, whose gain at one resolution is 1 or -1 (eq. 5).
    """

    high_resolution: str
    multi_resolution: str | None
    matched: str | None

    @classmethod
    def among(cls, names: Container[str]) -> "GainBaselines":
        """The models that have the paper's names; phi_mr is its first version, v1."""
        by_kind = (("phi_mr v1", "phi_mr"), ("phi_mm",))
        return cls("phi_hr", *(next((name for name in kind if name in names), None) for kind in by_kind))

    @property
    def note(self) -> str:
        """What the gains of a table are, in a sentence."""
        return (
            f"Gain: what a model adds to {self.high_resolution}, as a share of what "
            f"{self.multi_resolution or 'phi_mr (missing)'} adds or takes across resolutions (eq. 4), or "
            f"{self.matched or 'phi_mm (missing)'} at one (eq. 5)."
        )


def gains(
    pair: str, numbers: Mapping[str, float | None], baselines: GainBaselines
) -> dict[str, float | None]:
    """Gain of every model at a pair of resolutions, by the equation that the pair asks for.

        (M(phi) - M(phi_hr)) / |M(phi_mr) - M(phi_hr)|    two resolutions (eq. 4)
        (M(phi) - M(phi_hr)) / |M(phi_r) - M(phi_hr)|     one resolution r, phi_r of phi_mm (eq. 5)

    The denominator is absolute, so that the sign always says whether a model beats phi_hr. Of several sets, the gain
    is that of the averages: in a mean of gains, the set with the smallest denominator would decide.

    Args:
        pair: as the paper writes it, "112&14"; a side that is no size ("native") has no gain.
        numbers: M of every model at the pair, by name: accuracy, TAR or TPIR, all in one unit.
        baselines: which of them are phi_hr, phi_mr and phi_mm.

    Returns:
        By name; None (print "-") where a number is missing or the baseline equals phi_hr.
    """
    sides = pair.split("&")
    baseline = baselines.matched if len(set(sides)) == 1 else baselines.multi_resolution
    high, reference = numbers.get(baselines.high_resolution), numbers.get(baseline or "")
    found: dict[str, float | None] = dict.fromkeys(numbers)
    if high is None or reference is None or not all(side.isdecimal() for side in sides):
        return found
    whole = abs(reference - high)
    for name, value in numbers.items():
        # Equal numbers may differ by the rounding of their means.
        if value is not None and np.isfinite(value) and 1e-12 < whole < np.inf:
            found[name] = (value - high) / whole
    return found


def gain_text(gain: float | None) -> str:
    """As tables show a gain: with two digits and a sign; what rounds to nothing has a plus, what is none is a dash."""
    return "-" if gain is None else f"{round(gain, 2) + 0.0:+.2f}"
