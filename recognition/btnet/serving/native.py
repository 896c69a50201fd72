"""Native faces to embeddings, as serving does it: each resized to the branch its size selects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.serving.crops import fit_crops
from btnet.serving.embedding import Embed, embed_images
from btnet.serving.model_folder import EvaluatedModel, no_answer
from btnet.serving.selection import INDICATORS, RULES, select

__all__ = [
    "DEFAULT_STRATEGY",
    "STRATEGIES",
    "Strategy",
    "embed_crops",
    "parse_strategies",
    "selected_resolutions",
]


_BLOCK: Final = 256


class Strategy(NamedTuple):
    """How a face's size selects its branch: see `btnet.serving.selection.select`."""

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
        ValueError: as `btnet.serving.selection.select`.
    """
    different, which = np.unique(sizes.reshape(-1, 2), axis=0, return_inverse=True)
    chosen = [select(int(w), int(h), resolutions, strategy.indicator, strategy.rule) for w, h in different]
    return np.array(chosen, dtype=np.int64)[which.reshape(-1)]


def embed_crops(
    model: EvaluatedModel,
    crops: Sequence[NDArray[np.uint8]],
    strategy: Strategy | int,
    *,
    interpolation: str | None = None,
    batch_size: int = 32,
    mirror: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    embed: Embed = embed_images,
) -> NDArray[np.float32]:
    """Embed faces of any size.

    What `Recognizer.embed` does for a model that is served, for every model that is compared. Each face is
    resized once, from its native size to the resolution in question (`fit_crops`).

    Args:
        model: whose networks embed.
        crops: uint8 RGB [H, W, 3] each, of any size.
        strategy: selects each face's resolution by its size; or one resolution in px for all.
        interpolation: one of `btnet.data.INTERPOLATIONS`; None: as the model was trained.
        batch_size: images per forward pass.
        mirror: add the embedding of the mirror image.
        progress: called with the number of faces embedded.
        embed: a stand-in for `embed_images`, such as a store of embeddings.

    Returns:
        float32 [N, D] in the order of the crops, not normalised.

    Raises:
        ValueError: if the model has no network for a resolution, or as `embed_images`.
    """
    interpolation = interpolation or model.views
    if isinstance(strategy, int):
        chosen = np.full(len(crops), strategy, dtype=np.int64)
    else:
        sizes = np.array([crop.shape[1::-1] for crop in crops], dtype=np.int64)
        chosen = selected_resolutions(sizes, model.native_resolutions, strategy)
        if model.forced is not None:
            chosen[chosen < model.canonical_size] = model.forced
    embeddings = np.empty((len(crops), model.embedding_size), dtype=np.float32)
    for resolution in np.unique(chosen).tolist():
        choice = model.choose(resolution)
        if choice is None:
            raise ValueError(no_answer(model, resolution))
        rows = np.flatnonzero(chosen == resolution)
        # In blocks: the views of many faces need not be in memory at once.
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            views = fit_crops([crops[row] for row in block], resolution, interpolation)
            embeddings[block] = embed(
                choice.network, views, interpolation=interpolation, batch_size=batch_size, mirror=mirror
            )
            progress(len(block))
    return embeddings
