"""1:1 verification of a model on a set of pairs, each side seen at its own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.verification import check_folds, kfold_accuracy, pair_scores, tar_at_far
from btnet.serving.embedding import Embed, embed_images
from btnet.serving.model_folder import EvaluatedModel, no_answer
from btnet.serving.native import DEFAULT_STRATEGY, Strategy, embed_crops

__all__ = ["VerificationResult", "answers", "check_verifiable", "parse_pair", "verify", "verify_listed"]

NUM_FOLDS = 10

FARS = (1e-2, 1e-3)

Side = int | None
"""Resolution in px; None: the one that the face's own size selects, as in serving."""

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


def answers(model: EvaluatedModel, pair: Pair) -> bool:
    """Whether the model has a network for both resolutions."""
    return all(side is None or model.choose(side) is not None for side in pair)


def verify(
    model: EvaluatedModel,
    images: NDArray[np.uint8],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    strategy: Strategy = DEFAULT_STRATEGY,
    interpolation: str | None = None,
    batch_size: int = 32,
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
        pairs: resolutions in px, or None for what each face's size selects.
        strategy: of that selection.
        interpolation: how the faces are resized, one of `btnet.data.INTERPOLATIONS`; None: as the model was trained.
        batch_size: images per forward pass.
        progress: called with the number of images embedded after each side.
        embed: `embed_images`, or one that knows some answers (`btnet.serving.embedding_store`); not asked where
            each face selects its network.

    Returns:
        One result per pair of resolutions, in the order given.

    Raises:
        ValueError: if the model has no network for a resolution, there are not two images per pair, or as
            `kfold_accuracy` and `embed_images`.
    """
    if len(images) != 2 * len(issame):
        raise ValueError(f"{len(images)} images for {len(issame)} pairs: expected two images per pair")
    views = _Views(model, images, strategy, interpolation or model.views, batch_size, progress, embed)
    positions = np.arange(len(images)).reshape(-1, 2)
    return _verify(views, positions[:, 0], positions[:, 1], issame, pairs, num_folds=NUM_FOLDS)


def check_verifiable(
    model: EvaluatedModel,
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
    views = _Views(model, images[:2], DEFAULT_STRATEGY, interpolation, 2, lambda _: None)
    for pair in pairs:
        for row, side in enumerate(pair):
            views(np.array([row]), side)


def verify_listed(
    model: EvaluatedModel,
    images: Sequence[NDArray[np.uint8]],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    num_folds: int,
    strategy: Strategy = DEFAULT_STRATEGY,
    interpolation: str | None = None,
    batch_size: int = 32,
    progress: Callable[[int], None] = lambda _: None,
) -> list[VerificationResult]:
    """Verify faces of any size, each of them in as many pairs as one likes; see `verify`.

    Args:
        model: in memory or from `load_model`.
        images: uint8 RGB [H, W, 3], each once.
        first: position of each pair's first image, [P].
        second: of its second, [P].
        issame: whether a pair shows one person, [P].
        pairs: resolutions in px, or None for what each face's size selects.
        num_folds: of the accuracy, consecutive pairs.
        strategy: as in `verify`, and so the rest.
        interpolation: as in `verify`.
        batch_size: images per forward pass.
        progress: called with the number of images embedded.

    Returns:
        One result per pair of resolutions, in the order given.

    Raises:
        ValueError: if the model has no network for a resolution, or as `kfold_accuracy` and `embed_images`.
    """
    views = _Views(model, images, strategy, interpolation or model.views, batch_size, progress)
    return _verify(views, first, second, issame, pairs, num_folds=num_folds)


def _verify(
    views: _Views,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    issame: NDArray[np.bool_],
    pairs: Iterable[Pair],
    *,
    num_folds: int,
) -> list[VerificationResult]:
    results = []
    for pair in pairs:
        left, left_name = views(first, pair[0])
        right, right_name = views(second, pair[1])
        scores = pair_scores(left, right)
        accuracy, std = kfold_accuracy(left, right, issame, num_folds)
        tar = {far: tar_at_far(scores, issame, far) for far in FARS}
        results.append(VerificationResult(pair, accuracy, std, tar, (left_name, right_name), scores))
    return results


@dataclass
class _View:
    """Embeddings of the images at one resolution, as far as some pair needed them."""

    embeddings: NDArray[np.float32]
    done: NDArray[np.bool_]
    name: str = ""


@dataclass
class _Views:
    """Embeddings of some images at any resolution, each made when it is asked for first."""

    model: EvaluatedModel
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
    strategy: Strategy
    interpolation: str
    batch_size: int
    progress: Callable[[int], None]
    embed: Embed = embed_images
    by_side: dict[Side, _View] = field(default_factory=dict)

    def __call__(self, rows: NDArray[np.int64], side: Side) -> tuple[NDArray[np.float32], str]:
        """Of these images at this resolution, [len(rows), D], and the name of the network."""
        if side not in self.by_side:
            shape = (len(self.images), self.model.embedding_size)
            empty = np.empty(shape, dtype=np.float32)
            self.by_side[side] = _View(empty, np.zeros(len(self.images), dtype=np.bool_))
        view = self.by_side[side]
        new = np.unique(rows[~view.done[rows]])
        if len(new):
            view.embeddings[new], view.name = self._embed(new, side)
            view.done[new] = True
        return view.embeddings[rows], view.name

    def _embed(self, rows: NDArray[np.int64], side: Side) -> tuple[NDArray[np.float32], str]:
        choice = None if side is None else self.model.choose(side)
        if side is not None and choice is None:
            raise ValueError(no_answer(self.model, side))
        name = f"selected by size, {self.strategy.label}" if choice is None else choice.name
        if choice is None or not isinstance(self.images, np.ndarray):
            found = embed_crops(
                self.model,
                [self.images[row] for row in rows],
                self.strategy if side is None else side,
                interpolation=self.interpolation,
                batch_size=self.batch_size,
                mirror=True,
                progress=self.progress,
            )
            return found, name
        found = self.embed(
            choice.network,
            self.images[rows],
            view_size=side,
            interpolation=self.interpolation,
            batch_size=self.batch_size,
        )
        self.progress(len(rows))
        return found, name
