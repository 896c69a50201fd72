"""Class centres of a training set from a trunk's own embeddings, on all ranks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Sampler

from btnet.backbones.backbone import Backbone
from btnet.console import tracked
from btnet.data.faces import FaceSet
from btnet.data.loader import Batches
from btnet.data.views import normalise
from btnet.loss import build_prototypes
from btnet.training.distributed import Context


def embed_prototypes(
    faces: FaceSet,
    trunk: Backbone,
    context: Context,
    *,
    batch_size: int = 64,
    interpolation: str = "bilinear",
    num_workers: int = 2,
) -> Tensor:
    """Embed every image and its mirror image and average by class; each rank embeds its share.

    Args:
        faces: the training set.
        trunk: on the context's device, in eval mode.
        context: of the run.
        batch_size: images per forward pass and rank.
        interpolation: for images of another size than the trunk's.
        num_workers: loader processes per rank.

    Returns:
        As `btnet.loss.build_prototypes`, whose errors it raises.
    """
    loader = Batches(
        faces,
        _Share(len(faces), batch_size, context),
        batch_size=batch_size,
        size=trunk.input_size,
        interpolation=interpolation,
        num_workers=num_workers,
        pin_memory=context.device.type == "cuda",
    )

    def embed(images: Tensor) -> Tensor:
        x = normalise(images).contiguous(memory_format=context.memory_format)
        embedding: Tensor = trunk(x) + trunk(x.flip(-1))
        return embedding

    shown = tracked(loader, "class centres", len(loader), quiet=not context.is_main)
    group = torch.distributed.group.WORLD if context.world_size > 1 else None
    batches = ((batch.images, batch.labels) for batch in shown)
    return build_prototypes(
        embed, batches, faces.num_classes, trunk.embedding_size, context.device, group=group
    )


class _Share(Sampler[list[int]]):
    """Every image once, in order; of each round of batches, one per rank."""

    def __init__(self, num_images: int, batch_size: int, context: Context):
        self.starts = range(context.rank * batch_size, num_images, context.world_size * batch_size)
        self.num_images, self.batch_size = num_images, batch_size

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        for start in self.starts:
            yield list(range(start, min(start + self.batch_size, self.num_images)))
