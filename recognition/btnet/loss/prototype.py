"""An old classifier for trunks that come without one: each class's mean embedding."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import normalize

from btnet.loss.ranks import Ranks

__all__ = ["build_prototypes"]


@torch.no_grad()
def build_prototypes(
    embed: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    num_classes: int,
    embedding_size: int,
    device: torch.device | str,
    *,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Class centres from a trunk's own embeddings: normalised, summed by class, normalised again.

    Normalising first makes each image count the same: an embedding's length says how clear an image is, not
    who it shows. Batches are streamed; memory is one [num_classes, D] matrix per process.

    Args:
        embed: images to embeddings [B, D] of any length; a trunk in eval mode.
        batches: (images [B, ...], labels int64 [B]); they are moved to `device` here. Each rank of `group`
            passes its own part of the data.
        num_classes: of the data set.
        embedding_size: D.
        device: where embeddings are made and summed.
        group: sum over these ranks; None: this process alone has seen all the data.

    Returns:
        Rows of length 1, [num_classes, D], float32 on `device`; equal on all ranks.

    Raises:
        ValueError: for a class without an image, a label out of range, embeddings of another size, or a class
            whose mean has no direction (embeddings that are not finite, or cancel).
    """
    sums = torch.zeros(num_classes, embedding_size, device=device)
    counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
    for images, labels in batches:
        embeddings = embed(images.to(device)).float()
        if embeddings.shape != (len(labels), embedding_size):
            raise ValueError(
                f"embeddings of shape {list(embeddings.shape)} for {len(labels)} images: expected "
                f"[{len(labels)}, {embedding_size}]; is embedding_size that of this trunk?"
            )
        _check_labels(labels, num_classes)
        labels = labels.to(device)
        sums.index_add_(0, labels, normalize(embeddings))
        counts.index_add_(0, labels, torch.ones_like(labels))
    if group is not None:
        ranks = Ranks.of(group)
        ranks.sum_(sums)
        ranks.sum_(counts)

    _refuse(counts == 0, "without an image", "give each class one, or renumber the labels without gaps")
    lengths = sums.norm(dim=1)
    # the mean of n unit vectors is shorter than 1e-4 only if they cancel; NaN compares false
    flawed = ~((lengths > 1e-4 * counts) & lengths.isfinite())
    _refuse(
        flawed, "whose mean embedding has no direction", "check the trunk's weights and the images' range"
    )
    return sums.div_(lengths.unsqueeze(1))  # in place: there is one such matrix


def _check_labels(labels: Tensor, num_classes: int) -> None:
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong) > 0:
        raise ValueError(
            f"label {int(wrong[0])} is out of range: there are {num_classes} classes, so labels 0 to "
            f"{num_classes - 1}; is num_classes that of this data set?"
        )


def _refuse(flawed: Tensor, what: str, remedy: str) -> None:
    classes = flawed.nonzero().flatten().tolist()
    if classes:
        first = ", ".join(map(str, classes[:5])) + (", ..." if len(classes) > 5 else "")
        raise ValueError(f"{len(classes)} of {len(flawed)} classes {what} (labels {first}): {remedy}")
