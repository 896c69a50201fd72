"""Reading a checkpoint folder of `torch.distributed.checkpoint`, which may be damaged or of another network."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner

from btnet.backbones.weights_file import check_archive
from btnet.files.safe_pickle import load_pickle_of

__all__ = ["Reader", "cause", "check_fits", "naming_damage"]

_PLAN = ".metadata"
# In a plan beside dtypes and torch's own records; `pathlib._local` is Python 3.13's.
_ALSO_IN_PLANS = (("torch", "Size"), ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"),
                  ("pathlib._local", "PosixPath"))  # fmt: skip


def _record(module: str, name: str) -> Any:
    """What may stand in torch's pickle of what lies where: records, nothing that runs or makes room by itself."""
    is_known = (module, name) in _ALSO_IN_PLANS
    if not (is_known or module == "torch" or module.startswith("torch.distributed.checkpoint.")):
        return None
    found = getattr(importlib.import_module(module), name, None)
    is_record = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum))
    return found if is_known or is_record or isinstance(found, torch.dtype) else None


class Reader(FileSystemReader):
    """Torch's reader with checks: it would load flipped bits as weights and allocate any size that a file announces."""

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


def cause(error: BaseException) -> str:
    """In one line, what went wrong on the first rank it went wrong on."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Turn any error of torch in a damaged checkpoint into one that names it.

    Raises:
        ValueError: naming the checkpoint.
    """
    try:
        yield
    # Whatever torch meets in a file that was cut short or overwritten: there is no list of it.
    except (Exception, CheckpointException) as error:  # the latter is a BaseException
        raise ValueError(
            f"{path}: damaged checkpoint ({cause(error)}); remove this folder, and the one before it is used"
        ) from error


def check_fits(path: Path, tensors: Mapping[str, Any], metadata: Metadata) -> None:
    """Refuse another architecture by name: `dcp.load` reads whatever overlaps.

    Raises:
        ValueError: naming the first tensor of another shape.
    """
    for key, value in tensors.items():
        entry = metadata.state_dict_metadata.get(key)
        size = getattr(entry, "size", None)
        if size is None or list(size) != list(value.shape):
            was = "nothing" if size is None else list(size)
            raise ValueError(
                f"{path}: {key} is {was} there and {list(value.shape)} here; it was saved by a run of another "
                "network, or of other branches; start in another output folder"
            )
