"""What a branch sees does not depend on the number of ranks."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from btnet.data.loader import Batches, GlobalOrder
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.run import train
from btnet.training.setup import build_model, build_step
from gloo import run_on_ranks

CONFIGS = Path(__file__).parents[2] / "configs"
FACES = SyntheticFaces(10, 14)
GLOBAL_BATCH = 12
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
]
SMALL = [
    "num_workers=0",
    "val_targets=[]",
    "device=cpu",
]
SWITCHES = ["size_band=0.7", "degradation=0.5", "alignment_jitter=0.02"]


def views_of(rank: int, trunk: Path) -> dict[int, Tensor]:
    ranks = dist.get_world_size() if dist.is_initialized() else 1
    context = Context(rank, ranks, torch.device("cpu"), torch.float32)
    keys = [*SMALL, *SWITCHES, "rec=synthetic:10:14", f"trunk={trunk}"]
    config = load_config(CONFIGS / "ms1mv3_btnet_r14", [*keys, "freeze_classifier=False", "classifier=new"])
    built = build_model(config, FACES, context)
    step = build_step(config, built, context)
    batch_size = GLOBAL_BATCH // ranks
    order = GlobalOrder(len(FACES), batch_size=batch_size, num_epochs=1, seed=1, rank=rank, world_size=ranks)
    loader = Batches(
        FACES,
        list(order)[:3],
        batch_size=batch_size,
        size=112,
        interpolation="bilinear",
        num_workers=0,
        pin_memory=False,
    )
    views: dict[int, Tensor] = {}
    for batch in loader:
        images, _ = step.shown(batch, 2)
        seen = built.learners[0].view(images, batch.keys, 2)
        views |= dict(zip(batch.keys.tolist(), seen, strict=True))
    return views


def test_two_ranks_see_what_one_does(tmp_path: Path) -> None:
    trunk = train(
        load_config(
            CONFIGS / "ms1mv3_r50_mr",
            [*SMALL, *NETWORK, "rec=synthetic:4:4", "batch_size=8", "num_epoch=2", f"output={tmp_path}"],
        )
    )
    alone = views_of(0, trunk)
    first, second = run_on_ranks(views_of, 2, trunk)
    together = first | second
    assert len(together) == 3 * GLOBAL_BATCH
    assert together.keys() == alone.keys()
    assert all(torch.equal(together[key], view) for key, view in alone.items())
