"""Which branch embeds a face of a given native size (fig. 8 of the paper)."""

from collections.abc import Sequence
from typing import Final

INDICATORS: Final = ("max", "min", "avg")
RULES: Final = ("floor", "near", "ceil")


def select(
    width: int,
    height: int,
    resolutions: Sequence[int] = (112, 28, 14, 7),
    indicator: str = "max",
    rule: str = "ceil",
) -> int:
    """Select the resolution at which a native face is embedded.

    The size is first made one number, the resolution indicator; the rule then takes it to a branch. Below
    the smallest resolution it is the smallest, above the largest the largest. The default, max and ceil, is
    the paper's best on QMUL-SurvFace: no pixel of the face is thrown away.

    Args:
        width: of the native face in px.
        height: of the native face in px.
        resolutions: available ones in px, in any order; the canonical size included.
        indicator: "max", "min" or "avg" of width and height; avg = (width + height) // 2, as in the
            authors' code.
        rule: "floor" (largest resolution not above the indicator), "ceil" (smallest not below it) or
            "near" (closest; a tie goes down).

    Returns:
        One of `resolutions`.

    Raises:
        ValueError: if a side is below 1 px, no resolution is given, or a name is unknown.
    """
    if width < 1 or height < 1:
        raise ValueError(
            f"face of {width} x {height} px is empty; expected sides >= 1, drop such crops first"
        )
    if not resolutions or min(resolutions) < 1:
        raise ValueError(
            f"resolutions {tuple(resolutions)} are no choice; expected at least one size >= 1 px"
        )
    size = indicator_of(width, height, indicator)
    if rule == "floor":
        return max((r for r in resolutions if r <= size), default=min(resolutions))
    if rule == "ceil":
        return min((r for r in resolutions if r >= size), default=max(resolutions))
    if rule == "near":
        return min(resolutions, key=lambda r: (abs(r - size), r))
    raise ValueError(f"selection rule {rule!r} is unknown; choose one of {', '.join(RULES)}")


def indicator_of(width: int, height: int, indicator: str = "max") -> int:
    """The one number in px that stands for a face's size (fig. 8 of the paper).

    Raises:
        ValueError: for an unknown indicator.
    """
    if indicator == "max":
        return max(width, height)
    if indicator == "min":
        return min(width, height)
    if indicator == "avg":
        return (width + height) // 2
    raise ValueError(f"resolution indicator {indicator!r} is unknown; choose one of {', '.join(INDICATORS)}")
