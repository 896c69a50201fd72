from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from btnet.data.loader import GlobalOrder
from btnet.training.config_file import load_config
from btnet.training.distributed import distributed_context
from btnet.training.meters import DivergedError, LossWindow
from btnet.training.optimizer import Schedule

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_rate_rises_linearly_and_falls_quadratically_to_zero() -> None:
    schedule = Schedule(0.2, warmup_steps=4, total_steps=14)
    rates = [schedule(step) for step in range(15)]
    assert rates[:4] == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rates[4] == pytest.approx(0.2)
    assert rates[9] == pytest.approx(0.2 * 0.5**2)
    assert rates[14] == 0


@given(
    num_images=st.integers(1, 60),
    batch=st.integers(1, 5),
    ranks=st.sampled_from([1, 2, 4]),
    epochs=st.integers(1, 3),
    start=st.integers(0, 10),
)
def test_ranks_share_out_the_order_of_one_process(
    num_images: int, batch: int, ranks: int, epochs: int, start: int
) -> None:
    def order(rank: int, world_size: int, size: int, start_step: int = 0) -> list[list[int]]:
        return list(
            GlobalOrder(
                num_images,
                batch_size=size,
                num_epochs=epochs,
                seed=3,
                rank=rank,
                world_size=world_size,
                start_step=start_step,
            )
        )

    if num_images < batch * ranks:
        with pytest.raises(ValueError, match="do not fill one batch"):
            order(0, ranks, batch)
        return
    alone = order(0, 1, batch * ranks)
    together = zip(*(order(rank, ranks, batch) for rank in range(ranks)), strict=True)
    assert [[*chain(*parts)] for parts in together] == alone
    assert order(0, 1, batch * ranks, min(start, len(alone))) == alone[start:]
    per_epoch = num_images // (batch * ranks)
    for epoch in range(epochs):
        seen = [*chain(*alone[epoch * per_epoch : (epoch + 1) * per_epoch])]
        assert len(set(seen)) == len(seen)


def test_the_first_loss_that_is_not_finite_is_named_with_the_last_that_was() -> None:
    with distributed_context("cpu", "fp32") as context:
        window = LossWindow(context)
        window.add(7, 0.1, {"trunk/total": torch.tensor(2.5)})
        window.add(8, 0.2, {"trunk/total": torch.tensor(float("nan"))})
        window.add(9, 0.3, {"trunk/total": torch.tensor(float("nan"))})
        with pytest.raises(
            DivergedError, match=r"step 8 \(learning rate 0\.2\).*last finite losses: trunk/total 2\.5"
        ):
            window.close()


def test_a_window_means_over_its_steps() -> None:
    with distributed_context("cpu", "fp32") as context:
        window = LossWindow(context)
        for step, value in enumerate((1.0, 3.0)):
            window.add(step, 0.1, {"r14/total": torch.tensor(value)})
        assert window.close() == {"r14/total": 2.0}
        assert len(window) == 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr=fast", r"lr = 'fast', expected a number such as 0\.2"),
        ("batch_size=1.5", "expected a whole number"),
        ("flip=1", "expected True or False"),
        ("branches=14", "expected a list"),
        ("network=50", "expected a text"),
        ("network_args=[1]", "expected a dict"),
        ("margin=wide", "a number or None"),
        ("lr", "expected key=value"),
        ("learning_rate=1", "unknown key 'learning_rate'; did you mean 'lr'"),
        ("num_epochs=1", "unknown key 'num_epochs'; did you mean 'num_epoch'"),
    ],
)
def test_values_of_the_wrong_type_are_refused(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(CONFIGS / "demo_hr", [override])


def test_a_config_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match="did you mean ms1mv3_btnet_r"):
        load_config(CONFIGS / "ms1mv3_btnet_r15")


def test_the_paper_s_numbers() -> None:
    trunk, branch = (load_config(CONFIGS / name) for name in ("ms1mv3_r50_mr", "ms1mv3_btnet_r14"))
    assert (trunk.num_epoch, trunk.lr, trunk.warmup_epoch, trunk.batch_size) == (25, 0.2, 2, 128)
    assert (branch.num_epoch, branch.lr, branch.warmup_epoch) == (10, 0.02, 0)
    for config in (trunk, branch):
        assert (config.momentum, config.weight_decay, config.clip) == (0.9, 5e-4, 5.0)
        assert config.loss == "CurricularFace"
