"""Steps with every switch on, over two ranks: the weights afterwards are those of one process."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from btnet.backbones.iresnet import IResNet
from btnet.backbones.trunk_file import write_weights
from btnet.data.loader import Batches, GlobalOrder
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.setup import build_model, build_step
from gloo import run_on_ranks

CONFIGS = Path(__file__).parents[2] / "configs"
FACES = SyntheticFaces(4, 4)
GLOBAL_BATCH, STEPS = 8, 3
KEYS = [
    "rec=synthetic",
    "branches=[14, 7]",
    "classifier=prototype",
    "inner_size=28",
    "embedding_cosine_weight=20",
    "embedding_loss_weight=0.5",
    "feature_cosine_weight=5",
    "batch_size=4",
    "num_workers=0",
    "device=cpu",
]


def weights_after_steps(rank: int, world_size: int, trunk: Path) -> dict[str, Tensor]:
    """Of both branches. BatchNorm normalises by its running statistics: a batch's are those of a rank's share."""
    context = Context(rank, world_size, torch.device("cpu"), torch.float32)
    config = load_config(CONFIGS / "ms1mv3_btnet_r14", [*KEYS, f"trunk={trunk}"])
    built = build_model(config, FACES, context)
    step = build_step(config, built, context)
    order = GlobalOrder(
        len(FACES),
        batch_size=GLOBAL_BATCH // world_size,
        num_epochs=2,
        seed=1,
        rank=rank,
        world_size=world_size,
    )
    loader = Batches(
        FACES,
        order,
        batch_size=order.batch_size,
        size=112,
        interpolation="bilinear",
        num_workers=0,
        pin_memory=False,
    )
    for learner in built.learners:
        learner.train()
        learner.network.eval()
    for _, batch in zip(range(STEPS), loader, strict=False):
        step(batch, 0, 0.05)
    return {f"{each.name}/{key}": p.detach() for each in built.learners for key, p in each.learnt.items()}


def test_two_ranks_learn_what_one_process_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IResNet((1, 1, 1, 2), widths=(16, 16, 16, 16), embedding_size=8)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.momentum = 1.0
    network(torch.randn(8, 3, 112, 112))
    trunk = tmp_path / "trunk.pt"
    write_weights(trunk, network.state_dict())
    assert not dist.is_initialized()
    alone = weights_after_steps(0, 1, trunk)
    for rank in run_on_ranks(weights_after_steps, 2, 2, trunk):
        assert rank.keys() == alone.keys()
        for key, value in alone.items():
            torch.testing.assert_close(rank[key], value, rtol=1e-4, atol=1e-6)
