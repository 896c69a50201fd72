"""1:1 verification of a model on a set of pairs, each side seen at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.verification import check_folds, kfold_accuracy, pair_scores, tar_at_far
from btnet.serving.embedding import Embed, embed_images
from btnet.serving.face_model import FaceModel
from btnet.serving.selection import DEFAULT_STRATEGY, Strategy, selected_sizes

__all__ = ["Pair", "VerificationResult", "answers", "check_verifiable", "pair_label", "parse_pair", "verify"]

NUM_FOLDS = 10

FARS = (1e-2, 1e-3)

Side = int | None
"""Size in px that faces are seen at; None: the one that each face's own size selects, as in serving."""

Pair = tuple[Side, Side]

_NATIVE = "native"


@dataclass(frozen=True)
class VerificationResult:
    """How well a model verifies at one pair of resolutions.

    Attributes:
        pair: resolution of the first and of the second image of each pair, in px; None: native.
        accuracy: 10-fold, in [0, 1].
        std: standard deviation of the folds' accuracies.
        tar: true accept rate by false accept rate; what the set can carry, `btnet.evaluation.rates.measurable` says.
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
        return pair_label(self.pair)


def pair_label(pair: Sequence[Side]) -> str:
    """As the paper writes it: "112&14"; "native" for a side whose faces select their branches."""
    return "&".join(_NATIVE if side is None else str(side) for side in pair)


def parse_pair(text: str) -> Pair:
    """Read "112-14", "112-native" ...

    Raises:
        ValueError: if it is not two sizes in px.
    """
    sides = text.strip().split("-")
    known = all(side == _NATIVE or (side.isdecimal() and int(side) > 0) for side in sides)
    if len(sides) != 2 or not known:
        raise ValueError(f"resolution pair {text!r}: expected two sizes in px such as 112-14 (or `native`)")
    first, second = (None if side == _NATIVE else int(side) for side in sides)
    return first, second


def answers(model: FaceModel, pair: Pair) -> bool:
    """Whether the model has a network for both sizes."""
    return all(side is None or model.choose(side) is not None for side in pair)


def verify(
    model: FaceModel,
    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    positions: NDArray[np.int64] | None = None,
    num_folds: int = NUM_FOLDS,
    strategy: Strategy = DEFAULT_STRATEGY,
    interpolation: str | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda _: None,
    embed: Embed = embed_images,
) -> list[VerificationResult]:
    """Verify at each pair of sizes.

    The authors' protocol: of each pair, the first image is seen at the first size and the second at
    the second (112&14 is a 112 px gallery and a 14 px probe); embeddings of an image and of its mirror image
    are added. An image that several pairs need at one size is embedded once.

    Args:
        model: in memory or from `load_model`.
        images: uint8 RGB, a stack [N, H, W, 3] or a list of [H, W, 3] of any sizes.
        issame: whether a pair shows one person, [P].
        pairs: sizes in px, or None for what each face's size selects.
        positions: of each pair's two images, [P, 2]; None: images 2 i and 2 i + 1, as `read_bin` gives them.
        num_folds: of the accuracy, consecutive pairs.
        strategy: of the selection by a face's size.
        interpolation: how the faces are resized, one of `btnet.data.INTERPOLATIONS`; None: as the model was trained.
        batch_size: images per forward pass.
        progress: called with the number of images embedded.
        embed: as in `FaceModel.embed`.

    Returns:
        One result per pair of sizes, in the order given.

    Raises:
        ValueError: if the model has no network for a size, there are not two images per pair, or as
            `kfold_accuracy` and `embed_images`.
    """
    if positions is None:
        if len(images) != 2 * len(issame):
            raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
        positions = np.arange(len(images)).reshape(-1, 2)
    kept: dict[Side, tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}

    def seen(rows: NDArray[np.int64], side: Side) -> NDArray[np.float32]:
        if side not in kept:
            empty = np.empty((len(images), model.embedding_size), np.float32)
            kept[side] = empty, np.zeros(len(images), np.bool_)
        embeddings, done = kept[side]
        new = np.unique(rows[~done[rows]])
        if len(new):
            some = images[new] if isinstance(images, np.ndarray) else [images[row] for row in new.tolist()]
            embeddings[new] = model.embed(
                some,
                selected_sizes(model, some, strategy) if side is None else side,
                interpolation=interpolation,
                batch_size=batch_size,
                mirror=True,
                progress=progress,
                embed=embed,
            )
            done[new] = True
        return embeddings[rows]

    results = []
    for pair in pairs:
        first, second = (seen(positions[:, column], side) for column, side in enumerate(pair))
        names = [f"selected by size, {strategy.label}" if s is None else model.network_name(s) for s in pair]
        scores = pair_scores(first, second)
        accuracy, std = kfold_accuracy(first, second, issame, num_folds)
        tar = {far: tar_at_far(scores, issame, far) for far in FARS}
        results.append(VerificationResult(pair, accuracy, std, tar, (names[0], names[1]), scores))
    return results


def check_verifiable(
    model: FaceModel,
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    interpolation: str = "bilinear",
) -> None:
    """Find out at the cost of one pair whether `verify` can be asked the same.

    Raises:
        ValueError: as `verify`.
    """
    check_folds(issame, len(issame), NUM_FOLDS)
    for side in {side for pair in pairs for side in pair}:
        size = selected_sizes(model, images[:2], DEFAULT_STRATEGY) if side is None else side
        model.embed(images[:2], size, interpolation=interpolation, mirror=True)
