"""The learnt selector: how much detail a crop holds, not how many pixels, says which branch embeds it.

The paper names this as future work ("limitations"): a blurred face of many pixels is a low-resolution face. Blur shows
in the spectrum: a lens that resolves o of the s pixels of a face leaves little energy above the share o / s of the
pixels' own limit. A linear function of the logarithms of the energy in bands of that share, and of log2 s, tells o.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from btnet.files.atomic import replacing
from btnet.files.text import read_json

__all__ = ["NUM_FEATURES", "OpticalSelector", "blur_features"]

_FORMAT_VERSION: Final = 1
_KIND: Final = "btnet optical selector"
_NUM_BANDS: Final = 8
# Shares of the highest frequency that pixels carry along an axis; below the first lies the light on the face.
_EDGES: Final = np.linspace(0.1, 1.0001, _NUM_BANDS + 1)
NUM_FEATURES: Final = 2 * (_NUM_BANDS + 1)
_LARGEST_WEIGHT: Final = 1e6


def blur_features(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What tells blur from detail, [NUM_FEATURES]: 1, log2 of the size, energies by band, and these times that log2.

    Args:
        crop: uint8 RGB [H, W, 3]. The size is the geometric mean of its sides.

    Returns:
        float64; an energy is the logarithm of 1 + the mean power in its band, in squared grey levels.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.float64)
    height, width = grey.shape
    window = np.outer(_window(height), _window(width))
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2 / (height * width)
    share_y = 2 * np.abs(np.fft.fftfreq(height))[:, None]
    share_x = 2 * np.fft.rfftfreq(width)[None]
    band = np.digitize(np.maximum(share_y, share_x), _EDGES) - 1
    inside = (band >= 0) & (band < _NUM_BANDS)
    counts = np.bincount(band[inside], minlength=_NUM_BANDS)
    sums = np.bincount(band[inside], weights=power[inside], minlength=_NUM_BANDS)
    known = np.flatnonzero(counts)
    energies = np.log1p(sums[known] / counts[known])
    # Few pixels have few frequencies: what lies between two of them is read off their line.
    bands = np.interp(np.arange(_NUM_BANDS), known, energies)
    size = 0.5 * np.log2(height * width)
    return np.concatenate([[1.0, size], bands, size * bands])


def _window(length: int) -> NDArray[np.float64]:
    """Hann's, without its zeros, of mean square 1: the picture's edge must not look like detail."""
    window = np.hanning(length + 2)[1:-1]
    return np.asarray(window / np.sqrt(np.mean(window**2)), np.float64)


@dataclass(frozen=True, eq=False)
class OpticalSelector:
    """Predicts the optical size of crops, and takes each to a branch by it.

    Attributes:
        weights: of `blur_features`, for log2 of the optical size in px, float64 [NUM_FEATURES].
        cuts: resolution -> largest optical size in px that is taken to it. A resolution without a cut takes up to
            its own size (`ceil`); the largest there is takes the rest.
        pixel_cuts: fitted likewise to the crops' own sizes, to tell what seeing blur adds to learning cuts.
        about: how it was fitted.
    """

    weights: NDArray[np.float64]
    cuts: Mapping[int, float] = field(default_factory=dict)
    pixel_cuts: Mapping[int, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse weights that are not those of the features, and cuts at no size.

        Raises:
            ValueError: naming what was found.
        """
        if self.weights.shape != (NUM_FEATURES,) or not (np.abs(self.weights) < _LARGEST_WEIGHT).all():
            raise ValueError(
                f"optical selector of {list(self.weights.shape)} weights, expected {NUM_FEATURES} below "
                f"{_LARGEST_WEIGHT:g}; fit it again"
            )
        wrong = [cut for cut in (*self.cuts.values(), *self.pixel_cuts.values()) if not 0 <= cut < math.inf]
        if wrong:
            raise ValueError(
                f"optical selector with a cut at {wrong[0]} px, expected 0 or more; fit it again"
            )

    def optical_sizes(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """Optical size of each crop in px, [N]: at most its own size."""
        if not len(crops):
            return np.empty(0)
        found = np.stack([blur_features(crop) for crop in crops])
        return np.asarray(2 ** np.clip(found @ self.weights, 0.0, found[:, 1]))

    def resolutions_of(self, sizes: NDArray[np.float64], available: Sequence[int]) -> NDArray[np.int64]:
        """The resolution for each optical size in px, int64 [N].

        Args:
            sizes: [N].
            available: resolutions in px that there are networks for, in any order.
        """
        ordered = np.array(sorted(available), np.int64)
        # A cut below the one before it would leave a branch no face: the running maximum does so in order.
        cuts = np.maximum.accumulate([self.cuts.get(int(r), float(r)) for r in ordered[:-1]] or [0.0])
        return ordered[np.searchsorted(cuts[: len(ordered) - 1], sizes, side="left")]

    def fusion_sizes(self, sizes: NDArray[np.float64], available: Sequence[int]) -> NDArray[np.float64]:
        """Where fusion has a face of each optical size, in px, [N]: at a cut, both its neighbours have half a say.

        `btnet.serving.fusion` gives two networks equal weight at the geometric mean of their resolutions. So
        logarithms are mapped piecewise linearly, cuts to these means, and shifted beyond the outer ones; between
        resolutions without a cut nothing moves.

        Args:
            sizes: [N].
            available: resolutions in px that there are networks for, in any order.
        """
        ordered = sorted(available)
        if len(ordered) < 2:
            return sizes
        means = np.log([np.sqrt(a * b) for a, b in itertools.pairwise(ordered)])
        found = [self.cuts.get(r, float(np.exp(mean))) for r, mean in zip(ordered, means, strict=False)]
        # A branch without a face has no width; a little, so that the map stays one.
        cuts = np.maximum.accumulate(np.log(np.maximum(found, 1e-3))) + 1e-9 * np.arange(len(found))
        logs = np.log(sizes)
        mapped = np.interp(logs, cuts, means) + np.minimum(logs - cuts[0], 0) + np.maximum(logs - cuts[-1], 0)
        return np.asarray(np.exp(mapped))

    def save(self, path: str | Path) -> None:
        """Write a JSON file, whole or not at all."""
        document = {
            "kind": _KIND,
            "format_version": _FORMAT_VERSION,
            "weights": self.weights.tolist(),
            "cuts": {str(resolution): cut for resolution, cut in sorted(self.cuts.items())},
            "pixel_cuts": {str(resolution): cut for resolution, cut in sorted(self.pixel_cuts.items())},
            "about": dict(self.about),
        }
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> OpticalSelector:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, of another kind, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such optical selector; make one with `btnet-lab fit-selector`"
            )
        document = read_json(path)
        try:
            if document["kind"] != _KIND or document["format_version"] != _FORMAT_VERSION:
                raise ValueError(f"it is a {document['kind']!r} of format {document['format_version']}")
            cuts, pixel_cuts = (
                {int(resolution): float(cut) for resolution, cut in document[key].items()}
                for key in ("cuts", "pixel_cuts")
            )
            return cls(np.array(document["weights"], np.float64), cuts, pixel_cuts, document["about"])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: not an optical selector of format {_FORMAT_VERSION} ({str(error)[:200]}); fit it again"
            ) from error
