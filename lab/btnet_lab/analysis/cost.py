"""What a resolution costs: arithmetic per face, parameters learnt, bytes stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from btnet.backbones.backbone import Backbone
from btnet.backbones.registry import create
from btnet.backbones.trunk_file import load_trunk
from btnet.method.btnet import BTNet


@dataclass(frozen=True)
class Cost:
    """Costs of one resolution.

    Attributes:
        resolution: in px; the canonical size is the trunk.
        flops: of one face, multiplications and additions counted apart.
        learnt: parameters that receive gradients, the paper's definition; of the trunk, all of them.
        learnt_authors: likewise, by the definition of the authors' code.
        stored_bytes: float32 tensors in the file: learnt, fixed and running statistics.
        share: `learnt` over the trunk's parameters.
        share_authors: `learnt_authors` over the trunk's parameters.
    """

    resolution: int
    flops: int
    learnt: int
    learnt_authors: int
    stored_bytes: int
    share: float
    share_authors: float


def trunk_of(name: str) -> Backbone:
    """A trunk to count and describe: read from a file or folder, or by the name of its architecture.

    Args:
        name: a name of `btnet.backbones.registry`, or a path: with an ending, or there.

    Returns:
        The trunk; by name, on the meta device, where nothing is allocated or computed.
    """
    if Path(name).suffix or Path(name).exists():
        return load_trunk(name)
    with torch.device("meta"):
        return create(name)


def count_flops(network: Backbone) -> int:
    """FLOPs of one face: twice the multiply-adds of its convolutions and matrix products."""
    with torch.device("meta"):
        copy = network.fresh().eval()
        face = torch.empty(1, 3, network.input_size, network.input_size)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copy(face)
    return int(counter.get_total_flops())


def model_costs(
    trunk: Backbone,
    resolutions: Iterable[int],
    *,
    tail_from: str | None = None,
    inner_size: int = 0,
) -> list[Cost]:
    """Costs of a trunk and of a branch for each resolution.

    Args:
        trunk: its parameters get frozen, as `BTNet` does.
        resolutions: in px.
        tail_from: unit where the shared tail starts; None: behind the coupling layer.
        inner_size: px that branches enlarge their faces to; 0: none.
    """
    total = sum(p.numel() for p in trunk.parameters())
    model = BTNet(trunk, resolutions, tail_from=tail_from, inner_size=inner_size)
    stored = _num_bytes(trunk.state_dict().values())
    costs = [Cost(trunk.canonical_size, count_flops(trunk), total, total, stored, 1.0, 1.0)]
    for r in model.resolutions:
        learnt, authors = (
            sum(p.numel() for p in model.learnt_parameters(r, preset).values())
            for preset in ("paper", "authors")
        )
        costs.append(
            Cost(
                resolution=r,
                flops=count_flops(model.network(r)),
                learnt=learnt,
                learnt_authors=authors,
                stored_bytes=_num_bytes(model.owned(r).values()),
                share=learnt / total,
                share_authors=authors / total,
            )
        )
    return costs


def _num_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
