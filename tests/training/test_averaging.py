"""What is published is the average of the last steps, with statistics of its own; the trunk stays as it is."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from btnet.data.loader import Batches, GlobalOrder
from btnet.data.views import flip, flip_mask, normalise, resize
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.averaging import Averaging, WeightAverage
from btnet.training.batch_statistics import measure_statistics
from btnet.training.checkpoint import Checkpoints
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.run import train
from btnet.training.setup import Model, build_model, build_step

CONFIGS = Path(__file__).parents[2] / "configs"
ALONE = Context(0, 1, torch.device("cpu"), torch.float32)
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
]
SMALL = [
    "rec=synthetic:5:8",
    "batch_size=8",
    "num_epoch=2",
    "num_workers=0",
    "val_targets=[]",
    "device=cpu",
]
STEPS = 10
SWITCHES = ["size_band=0.5", "degradation=0.5", "alignment_jitter=0.02"]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        load_config(
            CONFIGS / "ms1mv3_r50_mr", [*SMALL, *NETWORK, f"output={tmp_path_factory.mktemp('trunk')}"]
        )
    )


def branch(trunk: Path, *overrides: str) -> Any:
    return load_config(CONFIGS / "ms1mv3_btnet_r14", [*SMALL, f"trunk={trunk}", *overrides])


@pytest.mark.parametrize(("decay", "share"), [(0.9, 1.0), (0.0, 1.0), (1.0, 0.5), (1.0, 1.0), (1.0, 0.0)])
def test_averages_are_those_of_a_loop_over_all_weights(decay: float, share: float) -> None:
    history = torch.randn(20, 3, dtype=torch.float64)
    parameter = nn.Parameter(torch.full((3,), 99.0, dtype=torch.float64))
    average = WeightAverage(Averaging(decay, share), {"w": parameter}, total_steps=20)
    for step, value in enumerate(history):
        parameter.data.copy_(value)
        average.update(step)
    average.put_in_place()
    last = history[20 - round(share * 20) :]
    expected = history[-1]
    if len(last):
        # Weights of a steady average, those of the steps before it began spread as the mean's are.
        taken = [max(1 - decay, 1 / (n + 1)) for n in range(len(last))]
        weights = [
            w * float(torch.tensor([1 - v for v in taken[n + 1 :]]).prod()) for n, w in enumerate(taken)
        ]
        assert sum(weights) == pytest.approx(1)
        expected = sum((w * value for w, value in zip(weights, last, strict=True)), torch.zeros(3))
        if decay == 1:
            torch.testing.assert_close(expected, last.mean(0))
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ["ema", "ema:1.0", "swa:2", "swa:-0.5", "last", "ema:x", "ema:nan"])
def test_another_averaging_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected ema:DECAY"):
        Averaging.parse(text)


def test_the_published_overlay_holds_the_mean_of_the_last_steps(
    trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Tensor]] = []
    update = WeightAverage.update

    def watched(self: WeightAverage, step: int) -> None:
        seen.append({key: p.detach().double().clone() for key, p in self._parameters.items()})
        update(self, step)

    monkeypatch.setattr(WeightAverage, "update", watched)
    folder = train(branch(trunk, "averaging=swa:0.4", "lr=0.1", f"output={tmp_path}"))
    before, after = (torch.load(path / "model.pt", weights_only=True) for path in (trunk, folder))
    assert all(torch.equal(before[key], after[key]) for key in before)
    overlay = load_file(folder / "overlay_r14.safetensors")
    assert len(seen) == STEPS
    moved = 0
    for key in (k.removeprefix("network.") for k in seen[0]):
        last = [weights[f"network.{key}"] for weights in seen[-4:]]
        torch.testing.assert_close(overlay[key].double(), torch.stack(last).mean(0), rtol=1e-5, atol=1e-7)
        moved += not torch.equal(last[-1].float(), overlay[key])
    assert moved > 5


def measured(built: Model, config: Any, faces: SyntheticFaces) -> None:
    step = build_step(config, built, ALONE)
    measure_statistics(step, faces, size=112, interpolation="bilinear", num_workers=0, epoch=7)


def test_statistics_are_those_of_an_independent_pass_over_the_training_set(trunk: Path) -> None:
    faces = SyntheticFaces(10, 14)
    config = branch(
        trunk, "rec=synthetic:10:14", "freeze_classifier=False", "classifier=new", "branches=[14, 7]"
    )
    built = build_model(config, faces, ALONE)
    before = {key: value.clone() for key, value in built.model.state_dict().items()}
    copies = [copy.deepcopy(learner.network) for learner in built.learners]
    measured(built, config, faces)
    order = GlobalOrder(len(faces), batch_size=64, num_epochs=1, seed=config.seed)
    assert len(order) == 2
    loader = Batches(
        faces, order, batch_size=64, size=112, interpolation="bilinear", num_workers=0, pin_memory=False
    )
    for learner, network, size in zip(built.learners, copies, (14, 7), strict=True):
        views = []
        for batch in loader:
            images = flip(batch.images, flip_mask(batch.keys, seed=config.seed, epoch=7))
            views.append(normalise(resize(images, size)))
        update_bn(views, network)
        expected = network.state_dict()
        found = learner.network.state_dict()
        assert learner.statistics()
        for key in learner.statistics():
            torch.testing.assert_close(found[key], expected[key], rtol=1e-4, atol=1e-6)
            assert not torch.equal(
                found[key], before[f"branches.{size}.{key}"] if key in before else -found[key]
            )
        assert not any(module.training for module in learner.network.modules())
    after = built.model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all(key.endswith(("running_mean", "running_var")) for key in changed)


def test_nothing_averaged_still_measures_the_statistics(trunk: Path, tmp_path: Path) -> None:
    plain = load_file(train(branch(trunk, f"output={tmp_path / 'plain'}")) / "overlay_r14.safetensors")
    anew = load_file(
        train(branch(trunk, "averaging=swa:0", f"output={tmp_path / 'anew'}")) / "overlay_r14.safetensors"
    )
    differs = {key for key in plain if not torch.equal(plain[key], anew[key])}
    assert differs == {key for key in plain if key.endswith(("running_mean", "running_var"))}


@pytest.mark.parametrize("averaging", ["ema:0.9", "swa:0.5"])
def test_resuming_publishes_the_bits_of_the_undisturbed_run(
    trunk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, averaging: str
) -> None:
    # with a cache of the teacher's answers, which refuses a teacher whose view has changed
    cache = f"teacher_cache={tmp_path / 'cache'}"
    keys = [*SWITCHES, cache, f"averaging={averaging}", "lr=0.1"]
    whole = train(branch(trunk, *keys, f"output={tmp_path / 'whole'}"))
    parts = [*keys, f"output={tmp_path / 'parts'}"]

    class StoppedError(Exception):
        pass

    save = Checkpoints.save

    def save_and_stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(StoppedError):
            train(branch(trunk, *parts, "save_every=7"))
    with pytest.raises(ValueError, match=f"averaging was '{averaging}', now it is ''"):
        train(branch(trunk, *parts, "averaging=", "resume=True"))
    resumed = train(branch(trunk, *parts, "resume=True"))
    expected, found = (load_file(path / "overlay_r14.safetensors") for path in (whole, resumed))
    assert all(torch.equal(expected[key], found[key]) for key in expected)
