"""Resume state through `torch.distributed.checkpoint`: whole or absent, any number of ranks, the last few kept.

Three kinds of tensors are told apart. What all ranks hold alike is saved once. Class centres and their momentum
are saved as the shards of one `DTensor`, which any number of ranks can read. Running statistics of BatchNorm and
random states differ by rank and are saved under per-rank keys.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from btnet.training.distributed import Context
from btnet.training.learner import Learner

_FOLDER = re.compile(r"step_(\d+)")


class Checkpoints:
    """The `checkpoints` folder of a run. Our own state: trusted, and never exchanged.

    Args:
        folder: created when the first is saved.
        keep: older ones are removed.
        context: of this process; all ranks call every method together.
        learners: whose state it is.
        identity: what a run must have in common with the one that wrote (global batch, steps, trunk, data).
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        context: Context,
        learners: Sequence[Learner],
        identity: dict[str, str | int],
    ):
        self.folder, self.keep, self.context = folder, keep, context
        self.learners, self.identity = learners, identity

    def save(self, step: int) -> Path:
        """Save the state after `step` steps.

        Raises:
            OSError: if it cannot be written; the older checkpoints are still there.
        """
        final = self.folder / f"step_{step:09d}"
        temporary = self.folder / f".{final.name}.tmp"
        if self.context.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self.context.barrier()
        save(
            {**self._tensors(), **self._facts(step)},
            storage_writer=FileSystemWriter(temporary),
            no_dist=self.context.world_size == 1,
        )
        if self.context.is_main:
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
            for old in saved(self.folder)[: -self.keep]:
                shutil.rmtree(old)
        self.context.barrier()
        return final

    def load_newest(self) -> int:
        """Put the newest state in place.

        Returns:
            The number of steps done; 0 if there is no checkpoint.

        Raises:
            ValueError: if it is of another run (other data, trunk, batch, architecture), or damaged.
        """
        folders = saved(self.folder)
        if not folders:
            return 0
        path = folders[-1]
        reader = FileSystemReader(path)
        try:
            metadata = reader.read_metadata()
        except Exception as error:
            raise ValueError(
                f"{path}: damaged checkpoint ({error}); remove it, and the one before it is used"
            ) from error
        facts = self._read_facts(path, reader)
        tensors = self._tensors(old_world_size=facts["world_size"])
        _check_fits(path, tensors, metadata)
        load(tensors, storage_reader=reader, no_dist=self.context.world_size == 1)
        self._put_back(tensors, facts)
        return int(facts["step"])

    def _read_facts(self, path: Path, reader: FileSystemReader) -> dict[str, Any]:
        facts = self._facts(0)
        load(facts, storage_reader=reader, no_dist=self.context.world_size == 1)
        for name, value in self.identity.items():
            if facts[name] != value:
                raise ValueError(
                    f"{path}: {name.replace('_', ' ')} was {facts[name]}, now it is {value}; go on with the "
                    "settings it was saved with, or start in another output folder"
                )
        return facts

    def _facts(self, step: int) -> dict[str, Any]:
        scalers = {f"scaler/{item.name}": json.dumps(item.scaler.state_dict()) for item in self.learners}
        return {"step": step, "world_size": self.context.world_size, **self.identity, **scalers}

    def _tensors(self, old_world_size: int | None = None) -> dict[str, Any]:
        """State by key, as saved; with `old_world_size`, room for the state that so many ranks saved."""
        world_size, rank = self.context.world_size, self.context.rank
        tensors: dict[str, Any] = {}
        same = old_world_size in (None, world_size)
        ranks = [rank] if same else range(old_world_size or 0)
        for learner in self.learners:
            statistics = learner.statistics()
            for key, value in learner.owned.items():
                if key not in statistics:
                    tensors[f"{learner.name}/network/{key}"] = value.detach()
            for key, value in statistics.items():
                for k in ranks:
                    tensors[f"{learner.name}/statistics/{k}/{key}"] = (
                        value if same else torch.empty_like(value)
                    )
            for key, value in learner.classifier.state_dict().items():
                if key != "weight":
                    tensors[f"{learner.name}/classifier/{key}"] = value
            if learner.classifier.weight.requires_grad:
                tensors[f"{learner.name}/classifier/weight"] = self._sharded(
                    learner, learner.classifier.weight
                )
            for key, value in _momentum(learner).items():
                sharded = key == "classifier.weight"
                tensors[f"{learner.name}/momentum/{key}"] = (
                    self._sharded(learner, value) if sharded else value
                )
        if same:
            tensors[f"random/{rank}/cpu"] = torch.get_rng_state()
            if self.context.device.type == "cuda":
                tensors[f"random/{rank}/cuda"] = torch.cuda.get_rng_state(self.context.device)
        return tensors

    def _sharded(self, learner: Learner, shard: Tensor) -> Tensor:
        if self.context.world_size == 1:
            return shard.detach()
        mesh = DeviceMesh(self.context.device.type, list(range(self.context.world_size)))
        shape = torch.Size([learner.classifier.num_classes, learner.classifier.embedding_size])
        return DTensor.from_local(
            shard.detach(), mesh, [Shard(0)], run_check=False, shape=shape, stride=(shape[1], 1)
        )

    def _put_back(self, tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        """What `dcp.load` could not fill in place: averages over other ranks, classifier, scaler, random state."""
        for learner in self.learners:
            for key, value in learner.statistics().items():
                prefix, suffix = f"{learner.name}/statistics/", f"/{key}"
                found = [
                    t for name, t in tensors.items() if name.startswith(prefix) and name.endswith(suffix)
                ]
                if found[0] is not value:
                    value.copy_(torch.stack(found).mean(0))
            head = f"{learner.name}/classifier/"
            state = {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}
            # The local shard was filled in place; going through the state dict lets the classifier take notice.
            learner.classifier.load_state_dict({**state, "weight": learner.classifier.weight.detach()})
            learner.scaler.load_state_dict(json.loads(facts[f"scaler/{learner.name}"]))
        rank = self.context.rank
        if f"random/{rank}/cpu" in tensors:
            torch.set_rng_state(tensors[f"random/{rank}/cpu"])
        if f"random/{rank}/cuda" in tensors:
            torch.cuda.set_rng_state(tensors[f"random/{rank}/cuda"], self.context.device)


def saved(folder: Path) -> list[Path]:
    """The whole checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _FOLDER.fullmatch(path.name))


def _momentum(learner: Learner) -> dict[str, Tensor]:
    """SGD's momentum buffers by parameter name, made (as zeros, their meaning) where no step has been yet."""
    buffers = {}
    for name, parameter in learner.parameters().items():
        state = learner.optimizer.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffers[name] = state["momentum_buffer"]
    return buffers


def _check_fits(path: Path, tensors: dict[str, Any], metadata: Metadata) -> None:
    """`dcp.load` reads whatever overlaps; here, another architecture is refused by name."""
    for key, value in tensors.items():
        entry = metadata.state_dict_metadata.get(key)
        size = getattr(entry, "size", None)
        if size is None or list(size) != list(value.shape):
            was = "nothing" if size is None else list(size)
            raise ValueError(
                f"{path}: {key} is {was} there and {list(value.shape)} here; it was saved by a run of another "
                "network, or of other branches; start in another output folder"
            )
