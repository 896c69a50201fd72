"""BatchNorm statistics measured anew over the training set, for weights that no step has run with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from btnet.data.faces import FaceSet
from btnet.data.loader import Batches, GlobalOrder
from btnet.training.learner import Learner
from btnet.training.step import Step

__all__ = ["measure_statistics"]

# Whatever the run's, so that the number of ranks does not matter.
_BATCH: Final = 64
# "Rethinking 'Batch' in BatchNorm" (arXiv 2105.07576) finds thousands enough.
_MOST_IMAGES: Final = 1 << 15


@torch.no_grad()
def measure_statistics(
    step: Step, faces: FaceSet, *, size: int, interpolation: str, num_workers: int, epoch: int
) -> None:
    """Set the running statistics of all learners to the means of batch statistics over the training set.

    Batches of 64 images in the order of the run's first epoch, seen as in training, and normalised by themselves
    meanwhile as in training; dropout rests. This is what SWA does behind its average (arXiv 1803.05407), on all ranks:
    each takes its share of the batches. All ranks call this together.

    Args:
        step: of the run, for what its learners see.
        faces: the training set; what does not fill a batch, and all beyond 32 768 images, is left out.
        size: of the canonical images, in px.
        interpolation: for images of another size.
        num_workers: loader processes per rank.
        epoch: that flips and views are drawn for.
    """
    context = step.context
    batch_size = min(_BATCH, len(faces))
    batches = GlobalOrder(len(faces), batch_size=batch_size, num_epochs=1, seed=step.seed)
    chosen = list(islice(batches, max(1, _MOST_IMAGES // batch_size)))[context.rank :: context.world_size]
    loader = Batches(
        faces,
        chosen,
        batch_size=batch_size,
        size=size,
        interpolation=interpolation,
        num_workers=num_workers,
        pin_memory=context.device.type == "cuda",
    )
    with _by_batch(step.learners) as norms_of:
        # A layer that several learners share has the mean over all of them.
        sums = {
            norm: torch.zeros(2, norm.num_features, dtype=torch.float64, device=context.device)
            for norms in norms_of
            for norm in norms
        }
        counts = {norm: torch.zeros((), dtype=torch.float64, device=context.device) for norm in sums}
        for batch in loader:
            images, _ = step.shown(batch, epoch)
            for learner, norms in zip(step.learners, norms_of, strict=True):
                view = step.enter(learner.view(images, batch.keys, epoch))
                with context.autocast():
                    learner.network(view)
                for norm in norms:
                    sums[norm] += torch.stack(_statistics(norm))
                    counts[norm] += 1
    for norm, total in sums.items():
        mean, variance = context.mean(total) / context.mean(counts[norm])
        for value, measured in zip(_statistics(norm), (mean, variance), strict=True):
            value.copy_(measured)


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@contextmanager
def _by_batch(learners: Sequence[Learner]) -> Iterator[list[list[_BatchNorm]]]:
    """The BatchNorms of each learner, set to hold the statistics of the last batch alone; all else in eval mode."""
    found = [[m for m in learner.network.modules() if isinstance(m, _BatchNorm)] for learner in learners]
    before = {norm: (norm.momentum, norm.num_batches_tracked) for norms in found for norm in norms}
    for learner in learners:
        learner.network.eval()
    for norm in before:
        norm.train()
        norm.momentum, norm.num_batches_tracked = 1.0, None
    try:
        yield found
    finally:
        for norm, (momentum, num_batches) in before.items():
            norm.eval()
            norm.momentum, norm.num_batches_tracked = momentum, num_batches
