"""1:1 verification of a model on a set of pairs, each side seen at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.verification import kfold_accuracy, pair_scores, tar_at_far
from btnet.inference.embedding import embed_images
from btnet.inference.model_folder import EvaluatedModel, no_answer

__all__ = ["VerificationResult", "answers", "parse_pair", "verify"]

FARS = (1e-2, 1e-3)

Pair = tuple[int, int]


@dataclass(frozen=True)
class VerificationResult:
    """How well a model verifies at one pair of resolutions.

    Attributes:
        pair: resolution of the first and of the second image of each pair, in px.
        accuracy: 10-fold, in [0, 1].
        std: standard deviation of the folds' accuracies.
        tar: true accept rate by false accept rate.
        networks: names of the networks that embedded the first and the second images.
        scores: cosine of each pair, float64 [P].
    """

    pair: Pair
    accuracy: float
    std: float
    tar: dict[float, float]
    networks: tuple[str, str]
    scores: NDArray[np.float64] = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        """As the paper writes it: "112&14"."""
        return f"{self.pair[0]}&{self.pair[1]}"


def parse_pair(text: str) -> Pair:
    """Read "112-14".

    Raises:
        ValueError: if it is not two sizes in px.
    """
    sides = text.strip().split("-")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise ValueError(f"resolution pair {text!r}: expected two sizes in px such as 112-14")
    return int(sides[0]), int(sides[1])


def answers(model: EvaluatedModel, pair: Pair) -> bool:
    """Whether the model has a network for both resolutions."""
    return all(model.network_for(resolution) is not None for resolution in pair)


def verify(
    model: EvaluatedModel,
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    interpolation: str = "bilinear",
    batch_size: int = 32,
    mirror: bool = True,
    num_folds: int = 10,
    fars: Sequence[float] = FARS,
    progress: Callable[[int], None] = lambda _: None,
) -> list[VerificationResult]:
    """Verify at each pair of resolutions.

    The authors' protocol: of each pair, the first image is seen at the first resolution and the second at
    the second (112&14 is a 112 px gallery and a 14 px probe); embeddings of an image and of its mirror image
    are added. A side that several pairs need is embedded once.

    Args:
        model: in memory or from `load_model`.
        images: uint8 RGB [2 P, H, W, 3], pair i being images 2 i and 2 i + 1, as `read_bin` gives them.
        issame: whether a pair shows one person, [P].
        pairs: resolutions in px.
        interpolation: how the faces are resized, one of `btnet.data.INTERPOLATIONS`.
        batch_size: images per forward pass.
        mirror: add the embeddings of the mirror images.
        num_folds: of the accuracy.
        fars: false accept rates at which the true accept rate is given.
        progress: called with the number of images embedded after each side.

    Returns:
        One result per pair of resolutions, in the order given.

    Raises:
        ValueError: if the model has no network for a resolution, there are not two images per pair, or as
            `kfold_accuracy` and `embed_images`.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
    sides: dict[tuple[int, int], NDArray[np.float32]] = {}

    def embedded(side: int, resolution: int) -> tuple[NDArray[np.float32], str]:
        choice = model.network_for(resolution)
        if choice is None:
            raise ValueError(no_answer(model, resolution))
        if (side, resolution) not in sides:
            sides[side, resolution] = embed_images(
                choice.network,
                images[side::2],
                view_size=resolution,
                interpolation=interpolation,
                batch_size=batch_size,
                mirror=mirror,
            )
            progress(len(issame))
        return sides[side, resolution], choice.name

    results = []
    for pair in pairs:
        first, first_name = embedded(0, pair[0])
        second, second_name = embedded(1, pair[1])
        scores = pair_scores(first, second)
        accuracy, std = kfold_accuracy(first, second, issame, num_folds)
        tar = {far: tar_at_far(scores, issame, far) for far in fars}
        results.append(VerificationResult(pair, accuracy, std, tar, (first_name, second_name), scores))
    return results
