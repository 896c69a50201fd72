"""1:1 verification of a model on a set of pairs, each side seen at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.verification import kfold_accuracy, pair_scores, tar_at_far
from btnet.inference.embedding import embed_images
from btnet.inference.model_folder import EvaluatedModel, no_answer
from btnet.inference.native import DEFAULT_STRATEGY, Strategy, embed_crops

__all__ = ["VerificationResult", "answers", "parse_pair", "verify", "verify_pairs"]

FARS = (1e-2, 1e-3)

Side = int | None
"""Resolution in px; None: the one that the face's own size selects, as in serving."""

Pair = tuple[Side, Side]

Embed = Callable[..., NDArray[np.float32]]
"""A function with the arguments of `embed_images`."""

_NATIVE = "native"


@dataclass(frozen=True)
class VerificationResult:
    """How well a model verifies at one pair of resolutions.

    Attributes:
        pair: resolution of the first and of the second image of each pair, in px; None: native.
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
        return pair_label(self.pair)


def pair_label(pair: Pair) -> str:
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


def answers(model: EvaluatedModel, pair: Pair) -> bool:
    """Whether the model has a network for both resolutions."""
    return all(side is None or model.network_for(side) is not None for side in pair)


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
    embed: Embed = embed_images,
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
        embed: `embed_images`, or one that knows some answers (`btnet.inference.embedding_store`).

    Returns:
        One result per pair of resolutions, in the order given.

    Raises:
        ValueError: if the model has no network for a resolution, there are not two images per pair, or as
            `kfold_accuracy` and `embed_images`.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
    return verify_pairs(
        model,
        images,
        np.arange(0, len(images), 2),
        np.arange(1, len(images), 2),
        issame,
        pairs,
        interpolation=interpolation,
        batch_size=batch_size,
        mirror=mirror,
        num_folds=num_folds,
        fars=fars,
        progress=progress,
        embed=embed,
    )


def verify_pairs(
    model: EvaluatedModel,
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    strategy: Strategy = DEFAULT_STRATEGY,
    interpolation: str = "bilinear",
    batch_size: int = 32,
    mirror: bool = True,
    num_folds: int = 10,
    fars: Sequence[float] = FARS,
    progress: Callable[[int], None] = lambda _: None,
    embed: Embed = embed_images,
) -> list[VerificationResult]:
    """Verify images of any size, each of them in as many pairs as one likes; see `verify`.

    Args:
        model: in memory or from `load_model`.
        images: uint8 RGB, each once: an array [N, H, W, 3], or a list of arrays [H, W, 3].
        first: position of each pair's first image, [P].
        second: of its second, [P].
        issame: whether a pair shows one person, [P].
        pairs: resolutions in px, or None for what each face's size selects.
        strategy: of that selection.
        interpolation: how the faces are resized, one of `btnet.data.INTERPOLATIONS`.
        batch_size: images per forward pass.
        mirror: add the embeddings of the mirror images.
        num_folds: of the accuracy, consecutive pairs.
        fars: false accept rates at which the true accept rate is given.
        progress: called with the number of images embedded.
        embed: see `verify`; used where `images` is an array and the resolution is given.

    Returns:
        One result per pair of resolutions, in the order given.

    Raises:
        ValueError: if the model has no network for a resolution, or as `kfold_accuracy` and `embed_images`.
    """
    views: dict[Side, _View] = {}

    def embedded(rows: NDArray[np.int64], side: Side) -> tuple[NDArray[np.float32], str]:
        if side not in views:
            shape = (len(images), model.embedding_size)
            views[side] = _View(np.empty(shape, dtype=np.float32), np.zeros(len(images), dtype=np.bool_))
        view = views[side]
        new = np.unique(rows[~view.done[rows]])
        if len(new):
            view.embeddings[new], view.name = _embed(
                model, images, new, side, strategy, interpolation, batch_size, mirror, progress, embed
            )
            view.done[new] = True
        return view.embeddings[rows], view.name

    results = []
    for pair in pairs:
        left, left_name = embedded(first, pair[0])
        right, right_name = embedded(second, pair[1])
        scores = pair_scores(left, right)
        accuracy, std = kfold_accuracy(left, right, issame, num_folds)
        tar = {far: tar_at_far(scores, issame, far) for far in fars}
        results.append(VerificationResult(pair, accuracy, std, tar, (left_name, right_name), scores))
    return results


@dataclass
class _View:
    """Embeddings of the images at one resolution, as far as some pair needed them."""

    embeddings: NDArray[np.float32]
    done: NDArray[np.bool_]
    name: str = ""


def _embed(
    model: EvaluatedModel,
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    rows: NDArray[np.int64],
    side: Side,
    strategy: Strategy,
    interpolation: str,
    batch_size: int,
    mirror: bool,
    progress: Callable[[int], None],
    embed: Embed,
) -> tuple[NDArray[np.float32], str]:
    choice = None if side is None else model.network_for(side)
    if side is not None and choice is None:
        raise ValueError(no_answer(model, side))
    name = f"selected by size, {strategy.label}" if choice is None else choice.name
    if choice is None or not isinstance(images, np.ndarray):
        found = embed_crops(
            model,
            [images[row] for row in rows],
            strategy if side is None else side,
            interpolation=interpolation,
            batch_size=batch_size,
            mirror=mirror,
            progress=progress,
        )
        return found, name
    found = embed(
        choice.network,
        images[rows],
        view_size=side,
        interpolation=interpolation,
        batch_size=batch_size,
        mirror=mirror,
    )
    progress(len(rows))
    return found, name
