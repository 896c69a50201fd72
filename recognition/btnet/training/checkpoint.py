"""Resume state through `torch.distributed.checkpoint`: whole or absent, any number of ranks, the last few kept.

Three kinds of tensors are told apart. What all ranks hold alike is saved once. Class centres and their momentum
are saved as the shards of one `DTensor`, which any number of ranks can read. Running statistics of BatchNorm and
the state of dropout's generators differ by rank and are saved under per-rank keys; the latter is of one kind of device.
The order of the images and the learning rate follow from the number of steps done.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from btnet.backbones.weights_file import check_archive
from btnet.files.safe_pickle import load_pickle_of
from btnet.loss import ShardedClassifier
from btnet.training.config_file import differences, refuse_removed
from btnet.training.distributed import Context
from btnet.training.learner import Learner

_PLAN = ".metadata"
_IDENTITY = "identity"
_FOLDER = re.compile(r"step_(\d+)")
# In a plan beside dtypes and torch's own records; `pathlib._local` is Python 3.13's.
_ALSO_IN_PLANS = (("torch", "Size"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"),
                  ("pathlib._local", "PosixPath"))  # fmt: skip


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
        folder: where they lie.
        keep: older ones are removed.
        context: of this process; all ranks call every method together, except where it says otherwise.
        learners: whose state it is.
        identity: by key, what a run must have in common with the one that wrote; as JSON takes it.
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
                f"{saving.final}: the checkpoint could not be written ({_cause(error)}); those "
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
        reader = _Reader(path)
        with _named_if_damaged(path):
            metadata = reader.read_metadata()
        if _IDENTITY not in metadata.state_dict_metadata:
            raise ValueError(
                f"{path}: was saved by an earlier version, without its settings: end the run with that version, or "
                "choose another folder with --set output=FOLDER"
            )
        facts = self._facts(0)
        with _named_if_damaged(path):
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
        _check_fits(path, tensors, metadata)
        state = {**tensors, **self._scalers()}
        with _named_if_damaged(path):
            self._load(state, reader)
            self._put_back(state)
        return int(facts["step"])

    def _load(self, state: dict[str, Any], reader: FileSystemReader) -> None:
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
            statistics = learner.statistics()
            for key, value in learner.owned.items():
                if key not in statistics:
                    tensors[f"{learner.name}/network/{key}"] = value.detach()
            for key, value in statistics.items():
                for k in ranks:
                    tensors[f"{learner.name}/statistics/{k}/{key}"] = (
                        value if same else torch.empty_like(value)
                    )
            classifier = learner.classifier
            if classifier is not None:
                for key, value in classifier.state_dict().items():
                    if key != "weight":
                        tensors[f"{learner.name}/classifier/{key}"] = value
                if classifier.weight.requires_grad:
                    tensors[f"{learner.name}/classifier/weight"] = self._sharded(
                        classifier, classifier.weight
                    )
            for key, value in _momentum(learner).items():
                tensors[f"{learner.name}/momentum/{key}"] = (
                    self._sharded(classifier, value) if classifier and key == "classifier.weight" else value
                )
            if same and old_device in (None, self.context.device.type):
                tensors[f"{learner.name}/random/{rank}/state"] = learner.draws.state
        return tensors

    def _sharded(self, classifier: ShardedClassifier, shard: Tensor) -> Tensor:
        if self._mesh is None:
            return shard.detach()
        shape = torch.Size([classifier.num_classes, classifier.embedding_size])
        return DTensor.from_local(
            shard.detach(), self._mesh, [Shard(0)], run_check=False, shape=shape, stride=(shape[1], 1)
        )

    def _put_back(self, tensors: dict[str, Any]) -> None:
        """What `dcp.load` could not fill in place: averages over other ranks, classifier, scaler."""
        for learner in self.learners:
            for key, value in learner.statistics().items():
                prefix, suffix = f"{learner.name}/statistics/", f"/{key}"
                found = [
                    t for name, t in tensors.items() if name.startswith(prefix) and name.endswith(suffix)
                ]
                if found[0] is not value:
                    value.copy_(torch.stack(found).mean(0))
            if learner.classifier is not None:
                head = f"{learner.name}/classifier/"
                state = {k.removeprefix(head): v for k, v in tensors.items() if k.startswith(head)}
                # The local shard was filled in place; going through the state dict lets the classifier take notice.
                learner.classifier.load_state_dict({**state, "weight": learner.classifier.weight.detach()})
            learner.scaler.load_state_dict(json.loads(tensors[f"{learner.name}/scaler"]))


def _record(module: str, name: str) -> Any:
    """What may stand in torch's pickle of what lies where: records, nothing that runs or makes room by itself."""
    is_known = (module, name) in _ALSO_IN_PLANS
    if not (is_known or module == "torch" or module.startswith("torch.distributed.checkpoint.")):
        return None
    found = getattr(importlib.import_module(module), name, None)
    is_record = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum))
    return found if is_known or is_record or isinstance(found, torch.dtype) else None


class _Reader(FileSystemReader):
    """Torch's, which takes the damage of a bit for another weight, and makes room for whatever a file announces."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What lies where."""
        metadata = load_pickle_of(Path(self.path) / _PLAN, _record)
        if not isinstance(metadata, Metadata):
            raise ValueError(f"{_PLAN} holds a {type(metadata).__name__}")
        return metadata

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Any:
        """As torch's, of items that are where they should be, and match their checksums."""
        for item in plan.items:
            place = self.storage_data[item.storage_index]
            path = Path(self.path) / place.relative_path
            if not 0 <= place.offset <= place.offset + place.length <= path.stat().st_size:
                raise ValueError(f"{place.length} bytes at {place.offset} of {path.name} are not there")
            with open(path, "rb") as file:
                file.seek(place.offset)
                check_archive(io.BytesIO(file.read(place.length)))
        return super().read_data(plan, planner)


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


def _cause(error: BaseException) -> str:
    """In one line, what went wrong on the first rank it went wrong on."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def _named_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    # Whatever torch meets in a file that was cut short or overwritten: there is no list of it.
    except (Exception, CheckpointException) as error:  # the latter is a BaseException
        raise ValueError(
            f"{path}: damaged checkpoint ({_cause(error)}); remove this folder, and the one before it is used"
        ) from error


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
