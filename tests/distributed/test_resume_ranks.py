"""Checkpoints under several ranks: bit-identical with as many, averaged statistics with another number."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from btnet.data.loader import Batches, GlobalOrder
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import Checkpoints, saved
from btnet.training.config_file import load_config
from btnet.training.distributed import Context
from btnet.training.learner import average_statistics
from btnet.training.output_folder import prepared_folder
from btnet.training.run import _Run, train
from btnet.training.setup import build_model, build_step
from gloo import run_on_ranks

CONFIGS = Path(__file__).parents[2] / "configs"
FACES = SyntheticFaces(6, 5)
GLOBAL_BATCH, SAVED_AT, STEPS = 12, 3, 5  # two steps an epoch: the save lies in the middle of one
NETWORK = [
    "network=iresnet",
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16]}",
    "embedding_size=8",
    "dropout=0.3",
]
SMALL = ["num_workers=0", "val_targets=[]", "device=cpu"]


class Training:
    """The parts of a run, stepped by hand."""

    def __init__(self, folder: Path, *, branch: bool = False):
        ranks = dist.get_world_size() if dist.is_initialized() else 1
        rank = dist.get_rank() if dist.is_initialized() else 0
        self.context = Context(rank, ranks, torch.device("cpu"), torch.float32)
        name = "ms1mv3_btnet_r14" if branch else "ms1mv3_r50_hr"
        keys = [*SMALL, "rec=synthetic", *([f"trunk={folder / 'trunk'}"] if branch else NETWORK)]
        config = load_config(CONFIGS / name, keys)
        self.built = build_model(config, FACES, self.context)
        self.step = build_step(config, self.built, self.context)
        self.order = GlobalOrder(
            len(FACES),
            batch_size=GLOBAL_BATCH // ranks,
            num_epochs=10,
            seed=1,
            rank=rank,
            world_size=ranks,
        )
        self.checkpoints = Checkpoints(
            folder / "checkpoints",
            keep=2,
            context=self.context,
            learners=self.built.learners,
            identity={"global_batch": GLOBAL_BATCH},
        )

    def run(self, start: int, stop: int) -> list[float]:
        self.order.start_step = start
        loader = Batches(
            FACES,
            self.order,
            batch_size=self.order.batch_size,
            size=112,
            interpolation="bilinear",
            num_workers=0,
            pin_memory=False,
        )
        self.built.learners[0].train()
        losses = []
        for step, batch in zip(range(start, stop), loader, strict=False):
            named = self.step(batch, step // self.order.steps_per_epoch, 0.05)
            [total] = [value for name, value in named.items() if name.endswith("/total")]
            losses.append(float(total))
        return losses

    def evaluate(self) -> float:
        """Loss of a fixed batch with BatchNorm in eval mode, the same on all ranks."""
        learner = self.built.learners[0]
        learner.network.eval()
        assert learner.classifier is not None
        learner.classifier.eval()
        share = range(GLOBAL_BATCH)[self.context.rank :: self.context.world_size]
        images = torch.stack([torch.from_numpy(FACES[i][0]).permute(2, 0, 1) for i in share])
        with torch.no_grad():
            embedding = learner.network(images / 127.5 - 1)
            return float(learner.classifier(embedding, torch.tensor([FACES[i][1] for i in share])))

    def state(self) -> dict[str, Tensor]:
        [learner] = self.built.learners
        assert learner.classifier is not None
        momentum = {
            f"momentum/{n}": learner.optimizer.state[p]["momentum_buffer"]
            for n, p in learner.parameters().items()
        }
        found = {
            **learner.owned,
            **learner.classifier.state_dict(prefix="classifier/"),
            **momentum,
        }
        return {key: value.detach().clone() for key, value in found.items()}


def save_and_go_on(rank: int, folder: Path) -> dict[str, Any]:
    """Save in the middle of an epoch while the disk is slow: what training changes meanwhile is not saved."""
    training = Training(folder)
    training.run(0, SAVED_AT)
    before, statistics = training.state(), training.built.learners[0].statistics()
    spread = max(float((training.context.mean(v) - v).abs().max()) for v in statistics.values())

    slow, write = threading.Event(), FileSystemWriter.write_data

    def write_slowly(self: FileSystemWriter, *args: Any) -> Any:
        slow.wait()
        return write(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileSystemWriter, "write_data", write_slowly)
        try:
            training.checkpoints.save(SAVED_AT)
            losses = training.run(SAVED_AT, STEPS)
            early = training.checkpoints.poll()
            nothing_yet = saved(folder / "checkpoints") == []
        finally:
            slow.set()
        training.checkpoints.finish()
    assert early is None
    assert nothing_yet
    end = training.state()

    resumed = Training(folder)
    assert resumed.checkpoints.load_newest() == SAVED_AT
    loaded = resumed.state()
    assert resumed.run(SAVED_AT, STEPS) == losses
    again = resumed.state()

    average_statistics(training.built.learners, training.context)  # what is published
    return {
        "loaded as saved": all(torch.equal(before[key], loaded[key]) for key in before),
        "changed meanwhile": not torch.equal(before["conv1.weight"], end["conv1.weight"]),
        "ends the same": all(torch.equal(end[key], again[key]) for key in end),
        "spread": spread,
        "published": training.built.learners[0].statistics(),
    }


def go_on_with_other_ranks(rank: int, folder: Path, step: int) -> dict[str, Any]:
    training = Training(folder)
    found = training.checkpoints.load_newest()
    assert found == step
    loss = training.evaluate()
    statistics = {key: value.clone() for key, value in training.built.learners[0].statistics().items()}
    losses = training.run(step, step + 1)
    training.checkpoints.save(step + 1)
    training.checkpoints.finish()
    average_statistics(training.built.learners, training.context)
    return {"loss": loss, "statistics": statistics, "losses": losses, "mean loss": training.evaluate()}


def test_two_ranks_go_on_to_the_bit_and_three_and_one_with_averaged_statistics(tmp_path: Path) -> None:
    two = run_on_ranks(save_and_go_on, 2, tmp_path)
    for rank in two:
        assert rank["loaded as saved"]
        assert rank["changed meanwhile"]
        assert rank["ends the same"]
        assert rank["spread"] > 0  # statistics are local, so that there was something to lose
        for key, value in rank["published"].items():
            assert torch.equal(value, two[0]["published"][key])

    three = run_on_ranks(go_on_with_other_ranks, 3, tmp_path, SAVED_AT)
    for rank in three:
        assert rank["loss"] == pytest.approx(three[0]["loss"], rel=1e-5)
        assert all(torch.equal(v, three[0]["statistics"][k]) for k, v in rank["statistics"].items())
    # what three ranks saved, each with statistics of its own, is read by one process as their mean
    alone = go_on_with_other_ranks(0, tmp_path, SAVED_AT + 1)
    assert alone["loss"] == pytest.approx(three[0]["mean loss"], rel=1e-5)


def test_a_branch_goes_on_to_the_bit_in_one_process(tmp_path: Path) -> None:
    keys = [
        *SMALL,
        *NETWORK,
        "rec=synthetic:4:4",
        "batch_size=8",
        "num_epoch=2",
        f"output={tmp_path / 'trunk'}",
    ]
    train(load_config(CONFIGS / "ms1mv3_r50_hr", keys))
    folder = tmp_path
    # the trunk knows other people: prototypes take the place of its classifier
    import btnet.training.config_file

    load = btnet.training.config_file.load_config
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "load_config", lambda path, k: load(path, [*k, "classifier=prototype"]))
        training = Training(folder, branch=True)
        training.run(0, SAVED_AT)
        training.checkpoints.save(SAVED_AT)
        losses = training.run(SAVED_AT, STEPS)
        training.checkpoints.finish()
        resumed = Training(folder, branch=True)
        assert resumed.checkpoints.load_newest() == SAVED_AT
        assert resumed.run(SAVED_AT, STEPS) == losses
        assert all(torch.equal(value, resumed.state()[key]) for key, value in training.state().items())


def verified_where_it_saves(rank: int, folder: Path) -> dict[str, Any]:
    """A run that verifies after every step that it saves, undisturbed and killed behind its second checkpoint."""
    context = Context(rank, dist.get_world_size(), torch.device("cpu"), torch.float32)
    keys = [*NETWORK, *SMALL, "rec=synthetic:4:4", "batch_size=4", "num_epoch=2", "warmup_epoch=0"]
    keys += ["verbose=1", "save_every=1"]

    def run(name: str, *more: str) -> None:
        config = load_config(CONFIGS / "ms1mv3_r50_hr", [*keys, f"output={folder / name}", *more])
        with prepared_folder(config, context) as output:
            _Run(config, context, output).run()

    spread: list[float] = []

    def save_and_stop(self: Checkpoints, step: int) -> None:
        save(self, step)
        if step == 2:
            self.finish()
            statistics = self.learners[0].statistics().values()
            spread.extend(float((context.mean(value) - value).abs().max()) for value in statistics)
            raise InterruptedError

    save = Checkpoints.save
    run("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", save_and_stop)
        with pytest.raises(InterruptedError):
            run("killed")
    run("killed", "resume=True")
    return {"spread": max(spread)}


def test_verifying_where_it_saves_leaves_a_resumed_run_of_two_ranks_equal_to_the_bit(tmp_path: Path) -> None:
    ranks = run_on_ranks(verified_where_it_saves, 2, tmp_path)
    assert all(rank["spread"] > 0 for rank in ranks)
    whole, killed = (
        torch.load(tmp_path / name / "model.pt", weights_only=True)
        | load_file(tmp_path / name / "classifier.safetensors")
        for name in ("whole", "killed")
    )
    assert all(torch.equal(value, killed[key]) for key, value in whole.items())
