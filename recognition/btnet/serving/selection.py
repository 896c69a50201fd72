"""Which branch embeds a face of a given native size (fig. 8 of the paper): one face, or a set by its strategy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from btnet.serving.face_model import FaceModel

__all__ = [
    "DEFAULT_STRATEGY",
    "INDICATORS",
    "RULES",
    "STRATEGIES",
    "Strategy",
    "indicator_of",
    "parse_strategies",
    "select",
    "selected_resolutions",
    "selected_sizes",
]

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


class Strategy(NamedTuple):
    """How a face's size selects its branch: see `select`."""

    indicator: str = "max"
    rule: str = "ceil"

    @property
    def label(self) -> str:
        """As the paper's Table 3 writes it: "max+ceil"."""
        return f"{self.indicator}+{self.rule}"


DEFAULT_STRATEGY: Final = Strategy()
"""The paper's best on QMUL-SurvFace, and the one of serving."""

STRATEGIES: Final = tuple(
    Strategy(indicator, rule) for indicator in ("avg", "min", "max") for rule in ("floor", "near", "ceil")
)
"""All nine, in the order of Table 3."""


def parse_strategies(text: str) -> list[Strategy]:
    """Read "all", or "max+ceil,avg+near".

    Raises:
        ValueError: for an unknown indicator or rule.
    """
    if text == "all":
        return list(STRATEGIES)
    chosen = []
    for word in dict.fromkeys(text.split(",")):
        indicator, _, rule = word.strip().partition("+")
        if indicator not in INDICATORS or rule not in RULES:
            raise ValueError(
                f"strategy {word!r}: expected an indicator ({', '.join(INDICATORS)}) and a rule "
                f"({', '.join(RULES)}) such as max+ceil, or all"
            )
        chosen.append(Strategy(indicator, rule))
    return chosen


def selected_resolutions(
    sizes: NDArray[np.int64], resolutions: Sequence[int], strategy: Strategy
) -> NDArray[np.int64]:
    """The resolution that each face's size selects.

    Args:
        sizes: width and height in px, [N, 2].
        resolutions: those there are to choose from.
        strategy: indicator and rule.

    Returns:
        int64 [N].

    Raises:
        ValueError: as `select`.
    """
    different, which = np.unique(sizes.reshape(-1, 2), axis=0, return_inverse=True)
    chosen = [select(int(w), int(h), resolutions, strategy.indicator, strategy.rule) for w, h in different]
    return np.array(chosen, dtype=np.int64)[which.reshape(-1)]


def selected_sizes(
    model: FaceModel, crops: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], strategy: Strategy
) -> NDArray[np.int64]:
    """The size in px that each crop is seen at: what serving selects, or the network that the model is forced to.

    Args:
        model: whose networks are chosen among.
        crops: uint8 RGB [H, W, 3] each, of any size.
        strategy: selects by a crop's size.

    Returns:
        int64 [N], for `FaceModel.embed`.
    """
    sizes = np.array([crop.shape[1::-1] for crop in crops], dtype=np.int64)
    chosen = selected_resolutions(sizes, model.resolutions, strategy)
    if model.forced is not None:
        chosen[chosen < model.canonical_size] = model.forced
    return chosen
