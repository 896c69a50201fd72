"""Resume state through `torch.distributed.checkpoint`: whole or absent, any number of ranks, the last few kept.

What all ranks share is saved once. Class centres and their momentum are saved as the shards of one `DTensor`, which any
number of ranks can read. Running statistics of BatchNorm and the state of dropout's generators differ by rank and have
keys per rank; the latter are for one kind of device. The order of the images and the learning rate follow from the
number of steps done.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from btnet.loss import ShardedClassifier
from btnet.training.checkpoint_reader import Reader, cause, check_fits, naming_damage
from btnet.training.config_file import differences
from btnet.training.distributed import Context
from btnet.training.learner import Learner
from btnet.training.removed_keys import refuse_removed

_IDENTITY = "identity"
_FOLDER = re.compile(r"step_(\d+)")


@dataclass(frozen=True)
class _Saving:
    """A checkpoint that is being written in the background."""

    final: Path
    temporary: Path
    written: Future[Any]


class Checkpoints:
    """The `checkpoints` folder of a run. Our own state: trusted, and never exchanged.

    Saving copies the state to host memory and returns; a thread writes the copy while training goes on. The
    checkpoint gets its name when the files of all ranks are whole. One is written at a time.

    Args:
        folder: of the checkpoints.
        keep: how many; older ones are removed.
        context: of this process; all ranks call every method together, except where it says otherwise.
        learners: whose state is saved.
        identity: what a resumed run must have in common with the one that saved, by key; plain JSON values.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        context: Context,
        learners: Sequence[Learner],
        identity: Mapping[str, Any],
    ):
        self.folder, self.keep, self.context = folder, keep, context
        self.learners = learners
        self.identity = json.dumps(identity)
        self._saving: _Saving | None = None
        self._mesh: DeviceMesh | None = None
        self._group: dist.ProcessGroup | None = None
        if context.world_size > 1:
            self._mesh = DeviceMesh(context.device.type, list(range(context.world_size)))
            # The writing thread's own: its messages must not mix with those of the training step.
            self._group = dist.new_group(backend="gloo")

    def save(self, step: int) -> None:
        """Begin to save the state after `step` steps; when this returns, training may go on and change it.

        Raises:
            OSError: if the checkpoint before this one could not be written.
        """
        self.finish()
        final = self.folder / f"step_{step:09d}"
        temporary = final.with_name(f".{final.name}.tmp")
        if self.context.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self.context.barrier()
        written = async_save(
            {**self._tensors(), **self._scalers(), **self._facts(step)},
            storage_writer=FileSystemWriter(temporary),
            process_group=self._group,
        )
        assert isinstance(written, Future)
        self._saving = _Saving(final, temporary, written)

    def finish(self) -> Path | None:
        """Wait until the checkpoint under way is whole on all ranks.

        Returns:
            Its path, on the first rank; None where there was nothing to wait for.

        Raises:
            OSError: if it could not be written; the older checkpoints are still there.
        """
        path = self.complete()
        self.context.barrier()
        return path

    def poll(self) -> Path | None:
        """As `finish`, but only where there is nothing to wait for; a rank may call it alone."""
        if self._saving is None or not self._saving.written.done():
            return None
        return self.complete()

    def complete(self) -> Path | None:
        """As `finish`, without waiting for the other ranks' calls; a rank may call it alone."""
        if self._saving is None:
            return None
        saving, self._saving = self._saving, None
        try:
            saving.written.result()
        except (Exception, CheckpointException) as error:  # the latter is a BaseException
            raise OSError(
                f"{saving.final}: the checkpoint could not be written ({cause(error)}); those "
                "before it are still there: make room, or repair the disk, and go on with resume=True"
            ) from error
        if not self.context.is_main:
            return None
        remove_folder(saving.final)
        os.replace(saving.temporary, saving.final)
        for old in saved(self.folder)[: -self.keep]:
            remove_folder(old)
        return saving.final

    def size_bytes(self) -> int:
        """Bytes that one checkpoint takes on disk, all ranks together, without the few of its framing."""
        total = 0
        for key, value in self._tensors().items():
            per_rank = f"/{self.context.rank}/" in key
            total += value.numel() * value.element_size() * (self.context.world_size if per_rank else 1)
        return total

    def load_newest(self) -> int:
        """Put the newest state in place.

        Returns:
            The number of steps done; 0 if there is no checkpoint.

        Raises:
            ValueError: if it is of another experiment (the keys are named), of an earlier version, or damaged.
        """
        folders = saved(self.folder)
        if not folders:
            return 0
        path = folders[-1]
        reader = Reader(path)
        with naming_damage(path):
            metadata = reader.read_metadata()
        if _IDENTITY not in metadata.state_dict_metadata:
            raise ValueError(
                f"{path}: was saved by an earlier version, without its settings: end the run with that version, or "
                "choose another folder with --set output=FOLDER"
            )
        facts = self._facts(0)
        with naming_damage(path):
            self._load(facts, reader)
            before = json.loads(facts[_IDENTITY])
            told = differences(before, json.loads(self.identity))
        refuse_removed(before, str(path))
        if told:
            raise ValueError(
                f"{path}: is of another experiment: {told}; go on with the settings it was saved with, or choose "
                "another folder with --set output=FOLDER"
            )
        tensors = self._tensors(facts["world_size"], facts["device"])
        check_fits(path, tensors, metadata)
        state = {**tensors, **self._scalers()}
        with naming_damage(path):
            self._load(state, reader)
            self._put_back(state)
        return int(facts["step"])

    def _load(self, state: dict[str, Any], reader: Reader) -> None:
        load(state, storage_reader=reader, process_group=self._group, no_dist=self._group is None)

    def _facts(self, step: int) -> dict[str, Any]:
        context = self.context
        return {
            "step": step,
            "world_size": context.world_size,
            "device": context.device.type,
            _IDENTITY: self.identity,
        }

    def _scalers(self) -> dict[str, str]:
        return {f"{item.name}/scaler": json.dumps(item.scaler.state_dict()) for item in self.learners}

    def _tensors(self, old_world_size: int | None = None, old_device: str | None = None) -> dict[str, Any]:
        """State by key, as saved; or room for the state that so many ranks saved on such a device."""
        world_size, rank = self.context.world_size, self.context.rank
        tensors: dict[str, Any] = {}
        same = old_world_size in (None, world_size)
        ranks = [rank] if same else range(old_world_size or 0)
        for learner in self.learners:
            found: dict[str, Any] = {}
            statistics = learner.statistics()
            for key, value in learner.owned.items():
                if key not in statistics:
                    found[f"network/{key}"] = value.detach()
            for key, value in statistics.items():
                for k in ranks:
                    found[f"statistics/{k}/{key}"] = value if same else torch.empty_like(value)
            found |= {f"momentum/{key}": value for key, value in _momentum(learner).items()}
            if learner.classifier is not None:
                for key, value in learner.classifier.state_dict(keep_vars=True).items():
                    if key != "weight" or value.requires_grad:
                        found[f"classifier/{key}"] = value
                for key in ("classifier/weight", "momentum/classifier.weight"):
                    if key in found:
                        found[key] = self._sharded(learner.classifier, found[key].detach())
            if same and old_device in (None, self.context.device.type):
                found[f"random/{rank}/state"] = learner.draws.state
            tensors |= {f"{learner.name}/{key}": value for key, value in found.items()}
        return tensors

    def _sharded(self, classifier: ShardedClassifier, shard: Tensor) -> Tensor:
        if self._mesh is None:
            return shard
        shape = torch.Size([classifier.num_classes, classifier.embedding_size])
        return DTensor.from_local(
            shard, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=(shape[1], 1)
        )

    def _put_back(self, tensors: dict[str, Any]) -> None:
        """What `dcp.load` could not fill in place: averages over other ranks, classifier, scaler."""
        for learner in self.learners:
            of_ranks = [key for key in tensors if key.startswith(f"{learner.name}/statistics/")]
            for key, value in learner.statistics().items():
                found = [tensors[name] for name in of_ranks if name.endswith(f"/{key}")]
                if found[0] is not value:
                    value.copy_(torch.stack(found).mean(0))
            if learner.classifier is not None:
                head = f"{learner.name}/classifier/"
                state = {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}
                # The local shard was filled in place; going through the state dict lets the classifier take notice.
                learner.classifier.load_state_dict({**state, "weight": learner.classifier.weight.detach()})
            learner.scaler.load_state_dict(json.loads(tensors[f"{learner.name}/scaler"]))


def saved(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _FOLDER.fullmatch(path.name))


def remove_folder(path: Path) -> None:
    """Remove a folder so that at no time a part of it stands under its name."""
    if path.is_dir():
        going = path.with_name(f".{path.name}.old")
        shutil.rmtree(going, ignore_errors=True)
        os.replace(path, going)
        shutil.rmtree(going)


def _momentum(learner: Learner) -> dict[str, Tensor]:
    """SGD's momentum buffers by parameter name, made (as zeros, their meaning) where no step has been yet."""
    buffers = {}
    for name, parameter in learner.parameters().items():
        state = learner.optimizer.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffers[name] = state["momentum_buffer"]
    return buffers
