"""Which network of a model takes which crop: by its size, by the detail it holds, or by two networks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.serving.fusion import fusion_weights
from btnet.serving.optical import OpticalSelector
from btnet.serving.selection import Strategy, indicator_of, select, selected_resolutions

__all__ = ["Routing"]


@dataclass(frozen=True, eq=False)
class Routing:
    """How a recogniser sends faces to the networks for `resolutions`; see `Recognizer` for the options."""

    resolutions: tuple[int, ...]
    indicator: str = "max"
    rule: str = "ceil"
    selector: OpticalSelector | None = None
    fusion: bool = False

    def __post_init__(self) -> None:
        self.by_size(1, 1)  # refuses an unknown indicator or rule

    @property
    def options(self) -> dict[str, Any]:
        """What scores depend on, as plain values."""
        return {
            "indicator": self.indicator,
            "rule": self.rule,
            "fusion": self.fusion,
            "selector": self.selector is not None,
        }

    @property
    def needs_the_crop(self) -> bool:
        """Whether the size of a face alone does not decide."""
        return self.fusion or self.selector is not None

    def by_size(self, width: int, height: int) -> int:
        """The resolution that a native size in px selects, see `select`."""
        return select(width, height, self.resolutions, self.indicator, self.rule)

    def sizes(self, crops: Sequence[NDArray[np.uint8]]) -> list[int]:
        """The indicator of each crop, in px."""
        return [indicator_of(crop.shape[1], crop.shape[0], self.indicator) for crop in crops]

    def choose(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
        """The resolution for each crop, int64 [N]; with fusion the one that has most say."""
        if self.fusion:
            return np.asarray(np.array(self.resolutions)[self.weights(crops).argmax(axis=1)], np.int64)
        if self.selector is not None:
            return self.selector.resolutions_of(self.selector.optical_sizes(crops), self.resolutions)
        sizes = np.array([crop.shape[1::-1] for crop in crops], np.int64)
        return selected_resolutions(sizes, self.resolutions, Strategy(self.indicator, self.rule))

    def weights(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """How much each network says about each crop under fusion, [N, K] in the order of `resolutions`."""
        if self.selector is not None:
            sizes = self.selector.fusion_sizes(self.selector.optical_sizes(crops), self.resolutions)
        else:
            sizes = np.array(self.sizes(crops), np.float64)
        return fusion_weights(sizes, self.resolutions)
