"""Branches that are trained in one run learn what each learns in a run of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from btnet.data.loader import Batches, GlobalOrder
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.learner import Draws
from btnet.training.run import train
from btnet.training.setup import build_model, build_step

CONFIGS = Path(__file__).parents[2] / "configs"
ALONE = Context(0, 1, torch.device("cpu"), torch.float32)
FACES = SyntheticFaces(4, 4)
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
    "dropout=0.3",
]
RESOLUTIONS = (56, 28, 14, 7)
SMALL = [
    "rec=synthetic:4:4",
    "batch_size=4",
    "num_epoch=1",
    "warmup_epoch=0",
    "num_workers=0",
    "val_targets=[]",
    "device=cpu",
]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("joint")
    return train(load_config(CONFIGS / "ms1mv3_r50_mr", [*SMALL, *NETWORK, f"output={folder}"]))


def losses_and_state(config: Any) -> tuple[list[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """Losses of each step, and all state at the end, of the learners by name."""
    built = build_model(config, FACES, ALONE)
    step = build_step(config, built, ALONE)
    order = GlobalOrder(len(FACES), batch_size=config.batch_size, num_epochs=2, seed=config.seed)
    loader = Batches(
        FACES,
        order,
        batch_size=config.batch_size,
        size=112,
        interpolation="bilinear",
        num_workers=0,
        pin_memory=False,
    )
    for learner in built.learners:
        learner.train()
    losses = [step(batch, i // order.steps_per_epoch, 0.05) for i, batch in enumerate(loader)]
    state = {
        f"{item.name}/{key}": value.clone()
        for item in built.learners
        for key, value in [
            *item.owned.items(),
            *(item.classifier.state_dict() if item.classifier else {}).items(),
        ]
    }
    return losses, state


@pytest.mark.parametrize("freeze", [True, False])
def test_losses_statistics_and_curriculum_equal_those_of_separate_runs(trunk: Path, freeze: bool) -> None:
    keys = [*SMALL, f"trunk={trunk}", f"freeze_classifier={freeze}"]
    joint, joint_state = losses_and_state(load_config(CONFIGS / "ms1mv3_btnet_all", keys))
    found: set[str] = set()
    for r in RESOLUTIONS:
        config = load_config(CONFIGS / "ms1mv3_btnet_all", [*keys, f"branches=[{r}]"])
        separate, state = losses_and_state(config)
        for together, alone in zip(joint, separate, strict=True):
            assert {f"r{r}/influence", f"r{r}/branch_distillation", f"r{r}/gradient_norm"} <= set(alone)
            for name, value in alone.items():
                torch.testing.assert_close(together[name], value, rtol=1e-6, atol=0)
        for name, value in state.items():
            torch.testing.assert_close(joint_state[name], value, rtol=1e-6, atol=1e-7)
        assert float(state[f"r{r}/margin.t"]) != 0
        found |= set(state)
    assert found == set(joint_state)


def test_draws_of_a_learner_go_on_where_they_stopped_and_do_not_move_the_global_ones() -> None:
    device = torch.device("cpu")
    generator = torch.Generator().manual_seed(3)
    expected = [torch.rand(4, generator=generator) for _ in range(2)]
    draws = Draws(device, 3)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for value in expected:
        with draws():
            assert torch.equal(torch.rand(4), value)
        assert torch.equal(torch.get_rng_state(), before)
