"""Configurations of arcface_torch as they stand: read, and trained as its loop does."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from btnet.data.faces import open_faces
from btnet.data.loader import Batches, GlobalOrder
from btnet.data.views import normalise
from btnet.training.config_file import load_config
from btnet.training.distributed import distributed_context
from btnet.training.optimizer import Schedule
from btnet.training.setup import build_model, build_step
from btnet.training.step import Step

THEIR_BASE = (Path(__file__).parent / "arcface_stand_in" / "configs" / "base.py").read_text()
THEIRS = """from easydict import EasyDict as edict
config = edict()
config.margin_list = (1.0, 0.0, 0.4)
config.network = "r100"
config.resume = False
config.output = None
config.embedding_size = 256
config.sample_rate = 0.2
config.interclass_filtering_threshold = 0.4
config.fp16 = True
config.momentum = 0.9
config.weight_decay = 5e-4
config.batch_size = 64
config.lr = 0.3
config.verbose = 1000
config.dali = False
config.rec = "REC"
config.num_classes = 2059906
config.num_image = 42474557
config.num_epoch = 20
config.warmup_epoch = 1
config.val_targets = ["lfw"]
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "base.py").write_text(THEIR_BASE)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.rec").write_bytes(b"")
    file = tmp_path / "configs" / "wf42m_pfc02.py"
    file.write_text(THEIRS.replace("REC", str(tmp_path / "data")))
    return file


def test_a_configuration_of_arcface_torch_is_taken_as_it_stands(
    theirs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        config = load_config(theirs)
    found = {
        key: config[key] for key in ("loss", "margin", "scale", "network", "embedding_size", "sample_rate")
    }
    assert found == {
        "loss": "CosFace",
        "margin": 0.4,
        "scale": 64.0,
        "network": "r100",
        "embedding_size": 256,
        "sample_rate": 0.2,
    }
    assert config.interclass_filtering_threshold == 0.4
    assert (config.precision, config.schedule, config.warmup_epoch) == ("auto", "arcface_torch", 1)
    assert (config.lr, config.batch_size, config.num_epoch, config.seed) == (0.3, 64, 20, 2048)
    assert config.rec == str(theirs.parents[1] / "data" / "train.rec")
    assert (config.output, config.val_targets) == ("runs/wf42m_pfc02", ["lfw"])
    assert "without effect here: dali, num_classes, num_image, save_all_states, using_wandb" in caplog.text


def test_what_it_leaves_out_comes_from_its_own_base_wherever_it_lies(theirs: Path, tmp_path: Path) -> None:
    base = theirs.with_name("base.py")
    base.write_text(base.read_text().replace("config.seed = 2048", "config.seed = 7"))
    theirs.write_text(
        THEIRS.replace("REC", "x").replace("config.fp16 = True\n", "").replace("config.lr = 0.3\n", "")
    )
    beside = load_config(theirs)
    assert (beside.seed, beside.lr, beside.precision) == (7, 0.1, "fp32")
    base.unlink()
    alone = load_config(theirs)
    assert (alone.seed, alone.lr, alone.precision) == (2048, 0.1, "fp32")


def test_our_own_keys_and_settings_stand_beside_its(theirs: Path) -> None:
    theirs.write_text(theirs.read_text() + "config.flip = False\n")
    config = load_config(theirs, ["lr=0.02", "output=here"])
    assert (config.flip, config.lr, config.output) == (False, 0.02, "here")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.optimizer = 'adamw'", "trains with SGD"),
        ("config.gradient_acc = 4", "raise batch_size"),
        ("config.dali_aug = True", "DALI's augmentation"),
        ("config.margin_list = (1.0, 0.5)", "expected three numbers"),
        ("config.margin_list = (0.9, 0.5, 0.0)", "expected \\(1, m, 0\\)"),
        ("config.sample_rate = 0", "above 0"),
    ],
)
def test_what_would_train_another_model_is_refused(line: str, message: str, theirs: Path) -> None:
    theirs.write_text(f"{theirs.read_text()}{line}\n")
    with pytest.raises(ValueError, match=message):
        load_config(theirs)


@pytest.mark.parametrize("warmup", [0, 3])
def test_its_schedule_is_that_of_its_scheduler(warmup: int) -> None:
    base, total = 0.1, 10
    schedule, rate = Schedule(base, warmup, total, "arcface_torch"), base
    for step in range(total):
        # as PolynomialLRWarmup sets a group's rate after `step` calls of its step()
        if 0 < step <= warmup:
            rate = base * step / warmup
        elif step > warmup:
            rate *= (1 - (step - warmup) / (total - warmup)) / (1 - (step - 1 - warmup) / (total - warmup))
        assert schedule(step) == pytest.approx(rate, rel=1e-12)


class DoubleStep(Step):
    """In float64: freshly initialised networks make a thousand times more of a rounding error."""

    def enter(self, images: Tensor) -> Tensor:
        return super().enter(images).double()


def their_loss(
    cosine: Tensor, labels: Tensor, margin_list: tuple[float, float, float], dirty: float
) -> Tensor:
    """CombinedMarginLoss and the mean cross entropy, by formula; ArcFace's gradient is 64 per logit."""
    rows = torch.arange(len(labels))
    own = torch.zeros_like(cosine).index_put((rows, labels), torch.ones((), dtype=cosine.dtype))
    if dirty:
        cosine = torch.where((cosine > dirty) & (own == 0), 0 * cosine, cosine)
    _, m2, m3 = margin_list
    if m3 > 0:
        logits = cosine - m3 * own
    else:
        value = (cosine.detach().clamp(-1, 1).acos() + m2 * own).cos()
        logits = cosine + (value - cosine).detach()
    return cross_entropy(64 * logits, labels)


@pytest.mark.parametrize(
    ("margin_list", "dirty"), [((1.0, 0.5, 0.0), 0.0), ((1.0, 0.0, 0.4), 0.0), ((1.0, 0.0, 0.4), 0.02)]
)
def test_ten_steps_have_the_losses_of_its_loop(
    margin_list: tuple[float, float, float], dirty: float, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.py"
    file.write_text(
        f"config = dict(margin_list={margin_list}, network='iresnet', embedding_size=32, fp16=False,\n"
        "    rec='synthetic:6:8',\n"
        "    interclass_filtering_threshold=DIRTY, batch_size=8, num_epoch=2, warmup_epoch=0, lr=0.1, num_workers=0,\n"
        "    num_classes=6, num_image=48, val_targets=[], flip=False, channels_last=False,\n"
        "    network_args=dict(blocks=(1, 1, 1, 1), widths=(8, 8, 8, 8), canonical_size=32))\n".replace(
            "DIRTY", str(dirty)
        )
    )
    config = load_config(file)
    faces = open_faces(config.rec)
    order = GlobalOrder(
        len(faces),
        batch_size=config.batch_size,
        num_epochs=config.num_epoch,
        seed=config.seed,
        rank=0,
        world_size=1,
    )
    batches = list(
        Batches(
            faces, order, batch_size=8, size=32, interpolation="bilinear", num_workers=0, pin_memory=False
        )
    )[:10]
    schedule = Schedule(config.lr, 0, order.total_steps, config.schedule)
    with distributed_context("cpu", config.precision, channels_last=False) as context:
        built = build_model(config, faces, context)
        learner = built.learners[0]
        built.trunk.double()
        assert learner.classifier is not None
        learner.classifier.double()
        reference: Any = built.trunk.fresh()
        reference.double().load_state_dict(built.trunk.state_dict())
        reference.train()
        weight = learner.classifier.weight.detach().clone().requires_grad_()
        step = DoubleStep(**vars(build_step(config, built, context)))
        learner.train()
        found = [step(batch, k // order.steps_per_epoch, schedule(k)) for k, batch in enumerate(batches)]
    ours = [losses[f"{learner.name}/total"].item() for losses in found]

    parameters = [p for p in reference.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD([*parameters, weight], lr=config.lr, momentum=0.9, weight_decay=5e-4)
    expected = []
    for k, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - k / order.total_steps)
        embeddings = reference(normalise(batch.images).double())
        cosine = linear(normalize(embeddings), normalize(weight))
        loss = their_loss(cosine, batch.labels, margin_list, dirty)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 5)
        optimizer.step()
        expected.append(loss.item())
    assert len(set(expected)) == 10
    assert math.isfinite(sum(expected))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
