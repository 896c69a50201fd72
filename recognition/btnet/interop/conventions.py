"""How a recognition model wants its images, and whether labelled faces bear out what was said about it.

A file of weights does not tell the colour order, and mostly not the range of its input. A wrong one costs accuracy and
raises no error. It shows only in how well people are told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btnet.data.faces import FaceSet
from btnet.evaluation.bootstrap import PairedDifference, paired_bootstrap
from btnet.evaluation.verification import pair_scores
from btnet.images.resize import resize

__all__ = ["RANGES", "Convention", "Judged", "Labelled", "judge", "labelled_faces", "told"]

RANGES: Final = ((127.5, 127.5), (0.0, 255.0), (0.0, 1.0))
"""Mean and standard deviation of the usual inputs: [-1, 1], [0, 1], [0, 255]."""
_SIGNIFICANT: Final = 0.05  # for all alternatives together (Bonferroni)
_FEWEST_PAIRS: Final = 20


class Convention(NamedTuple):
    """What a model takes: (grey level - mean) / std, in this order of colours."""

    colour_order: str
    mean: float
    std: float

    def apply(self, levels: Tensor) -> Tensor:
        """float32 [N, 3, S, S] of uint8 RGB [N, 3, S, S]."""
        ordered = levels.flip(1) if self.colour_order == "BGR" else levels
        return (ordered.float() - self.mean) / self.std

    def __str__(self) -> str:
        return f"{self.colour_order}, (x - {self.mean:g}) / {self.std:g}"


class Labelled(NamedTuple):
    """Faces, uint8 RGB [N, S, S, 3], and who they show, int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Judged:
    """How well one convention tells people apart.

    Attributes:
        convention: the one.
        separation: mean cosine of matched pairs minus that of impostor pairs, in standard deviations of the latter.
        difference: its separation minus that of the convention that was stated; None for that one itself.
    """

    convention: Convention
    separation: float
    difference: PairedDifference | None

    @property
    def verdict(self) -> str:
        """Against the one that was stated, by the interval over people."""
        if self.difference is None:
            return "as stated"
        low, high = self.difference.low, self.difference.high
        word = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
        return f"{word} (difference {low:+.2f} to {high:+.2f})"


def judge(
    embed: Callable[[Tensor], NDArray[Any]],
    labelled: Labelled,
    stated: Convention,
    others: Sequence[Convention],
) -> list[Judged]:
    """Compare conventions on the same pairs of faces; intervals are a bootstrap over people.

    Args:
        embed: float32 [N, 3, S, S], as a convention has it, to [N, D].
        labelled: aligned faces of a size that `embed` takes.
        stated: the convention that is asked about.
        others: what it could be instead.

    Returns:
        The stated one first.

    Raises:
        ValueError: for too few people or images of each.
    """
    first, second = _pairs(labelled.labels)
    same = labelled.labels[first] == labelled.labels[second]
    people = np.stack([labelled.labels[first], labelled.labels[second]], axis=1)
    levels = torch.from_numpy(np.ascontiguousarray(labelled.images.transpose(0, 3, 1, 2)))
    values = {}
    for convention in (stated, *others):
        # Where a range makes float16 overflow, nobody is recognised.
        found = np.nan_to_num(np.asarray(embed(convention.apply(levels)), np.float64), posinf=0, neginf=0)
        values[convention] = _values(pair_scores(found[first], found[second]), same)
    confidence = 1 - _SIGNIFICANT / max(len(others), 1)
    differences = {
        each: paired_bootstrap(values[each], values[stated], same, people, confidence=confidence)
        for each in others
    }
    return [Judged(each, float(values[each].mean()), differences.get(each)) for each in values]


def told(judged: Sequence[Judged], where: str) -> str:
    """What these faces say about the stated convention, in a sentence.

    Args:
        judged: of `judge`.
        where: the model's file, for the error.

    Raises:
        ValueError: if another convention is significantly better.
    """
    stated, *others = judged
    better = [each for each in others if each.verdict.startswith("better")]
    if better:
        best = max(better, key=lambda each: each.separation)
        raise ValueError(
            f"{where}: {best.convention} tells these people apart better than {stated.convention}, "
            f"separation {best.separation:.2f} against {stated.separation:.2f} ({best.verdict}); state that one"
        )
    open_ones = [str(each.convention) for each in others if each.verdict.startswith("cannot tell")]
    if open_ones:
        return f"cannot tell {stated.convention} from {'; '.join(open_ones)} with these faces"
    return f"{stated.convention} is significantly better than any other"


def labelled_faces(faces: FaceSet, size: int, *, num_people: int = 100, images_each: int = 4) -> Labelled:
    """A few images of a few people, always the same.

    Args:
        faces: a set with at least two images of some people.
        size: in px they are resized to.
        num_people: at most.
        images_each: at most, at least 2.
    """
    generator = np.random.default_rng(0)
    labels = np.asarray(faces.labels)
    counts = np.bincount(labels)
    people = generator.permutation(np.flatnonzero(counts >= 2))[:num_people]
    chosen = [index for person in people for index in np.flatnonzero(labels == person)[:images_each]]
    images = [resize(faces[int(index)][0], size, "bilinear") for index in chosen]
    return Labelled(np.stack(images) if images else np.empty((0, size, size, 3), np.uint8), labels[chosen])


def _values(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each pair adds to the separation, which is their mean: pairs of each kind are equally many."""
    spread = scores[~same].std()
    deviations = (scores - scores[~same].mean()) / (spread if spread > 0 else 1.0)
    values: NDArray[np.float64] = np.where(same, 2 * deviations, -2 * deviations)
    return values


def _pairs(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of one person, and as many of two, shuffled."""
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    generator = np.random.default_rng(0)
    matched, impostors = (generator.permutation(np.flatnonzero(kind)) for kind in (same, ~same))
    count = min(len(matched), len(impostors))
    if count < _FEWEST_PAIRS:
        raise ValueError(
            f"labelled faces with {len(matched)} pairs of one person and {len(impostors)} of two, expected at least "
            f"{_FEWEST_PAIRS} of each; give some dozens of people with several images each"
        )
    chosen = generator.permutation(np.concatenate([matched[:count], impostors[:count]]))
    return first[chosen], second[chosen]
