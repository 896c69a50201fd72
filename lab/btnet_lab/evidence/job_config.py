"""The configuration of each job, the files and folders it reads and writes, and the teacher cache it shares."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.backbones.trunk_file import load_trunk
from btnet.data.faces import open_faces
from btnet.data.record_faces import RecordFaces
from btnet.method.coupling import default_tail
from btnet.training.config_file import BASE, load_config
from btnet.training.distributed import distributed_context
from btnet.training.teacher import TrunkTeacher
from btnet.training.teacher_cache import cached
from btnet_lab.evidence.faces import Sets, Source
from btnet_lab.evidence.plan import BRANCH, GIVEN_TRUNK, RESOLUTIONS, Job, Plan, Row

_BYTES = 2 * 2  # of a cached value: two views, float16

# Paths and logging: they do not change what is learnt.
LOCAL = ("rec", "trunk", "classifier", "output", "overwrite", "teacher_cache", "resume", "num_workers", "frequent",
         "verbose", "save_every", "keep_checkpoints", "name", "role", "device", "compile")  # fmt: skip


@dataclass(frozen=True)
class JobConfigs:
    """Configurations and paths of one evidence run's jobs; see `btnet_lab.evidence.runner.Runner`."""

    source: Source
    plan: Plan
    folder: Path
    configs: Path
    overrides: Sequence[str]
    sets: Sets

    @property
    def runs(self) -> Path:
        """Folder of the trainings' outputs."""
        return self.folder / "runs"

    @property
    def results(self) -> Path:
        """Folder of the result files: numbers alone."""
        return self.folder / "results"

    def model(self, row: Row) -> Path:
        """What a row was trained to, with its first seed."""
        return self.runs / Job(row, row.seeds[0]).name if row.config else self.trunk(row)

    def trunk(self, row: Row) -> Path:
        """What a row stands on."""
        if row.trunk == GIVEN_TRUNK:
            return self.source.trunk
        return self.model(self.plan.row(row.trunk))

    def record(self, job: Job) -> Path:
        """Its result file."""
        return self.results / f"{job.name}.json"

    def config(self, job: Job) -> Any:
        """The resolved configuration of a job."""
        row = job.row
        settings: dict[str, Any] = {
            "rec": str(self.sets.rec(row.data)),
            "trunk": str(self.trunk(row)),
            "output": str(self.runs / job.name),
            "seed": job.seed,
            "role": job.name,
            "resume": True,
            "classifier": str(self.sets.classifier(row.data)),
            **self._chosen(row.method),
            **row.settings,
        }
        if row.resolution:
            settings["branches"] = [row.resolution]
        if row.tail_at:
            trunk = load_trunk(self.source.trunk)
            settings["tail_from"] = default_tail(trunk.units(), trunk.canonical_size, row.tail_at)
        moves = settings.get("shared_jitter")  # and the trunk, too, sees each face anew
        kept = row.resolution in (0, *RESOLUTIONS)  # the cache has the coupling layers of these
        if row.is_cached and kept and not moves and self._cache_fits(row):
            settings["teacher_cache"] = str(self.cache(row))
        texts = [f"{key}={value}" for key, value in settings.items()]
        return load_config(self.configs / (row.config or BRANCH), [*texts, *self.overrides])

    def _chosen(self, method: str) -> dict[str, Any]:
        path = self.folder / "choices" / f"{method}.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if method and path.is_file() else {}

    def digest(self, job: Job, config: Any) -> str:
        """Of all that decides what a job learns."""
        decisive = self._decisive(job, config) | {
            "config": job.row.config,
            "trunk": fingerprint(load_trunk(self.trunk(job.row)).state_dict()),
            "data": RecordFaces(self.sets.rec(job.row.data)).fingerprint(),
            "own_classifier": job.row.settings.get("classifier"),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def _decisive(self, job: Job, config: Any) -> dict[str, Any]:
        """Its settings that differ from the base: a key that a later version adds or removes undoes nothing."""
        base = load_config(self.configs / BASE)
        found = {key: value for key, value in config.items() if key not in LOCAL and value != base[key]}
        return found | dict(job.row.removed)

    def cache(self, row: Row) -> Path:
        """Folder of its teacher cache, which rows on the same trunk and data share."""
        return self.folder / "cache" / f"{row.trunk or 'given'}_{row.data}"

    def _cache_fits(self, row: Row) -> bool:
        """Whether the cache is there, or takes less than half of the disk that is free."""
        if self.cache(row).is_dir():
            return True
        if not self.trunk(row).exists() or not self.sets.rec(row.data).is_file():
            return False
        needed = cache_bytes(
            load_trunk(self.trunk(row)),
            RESOLUTIONS,
            len(RecordFaces(self.sets.rec(row.data))),
        )
        return needed < shutil.disk_usage(self.folder).free / 2


def cache_bytes(trunk: Backbone, resolutions: Sequence[int], num_images: int) -> int:
    """What the cache will take on the disk."""
    size = trunk.input_size
    with torch.no_grad():
        maps = trunk.feature_maps(torch.zeros(1, 3, size, size), _couplings(trunk, resolutions))
    values = sum(value.numel() for value in maps.values()) + trunk.embedding_size
    return _BYTES * values * num_images


def build_cache(config: Any, resolutions: Sequence[int]) -> None:
    """Complete the teacher cache of a run: every coupling layer and the embedding, in one pass for all branches."""
    trunk = load_trunk(config.trunk)
    with distributed_context(config.device, config.precision, channels_last=config.channels_last) as context:
        context.place(trunk)
        teacher = TrunkTeacher(trunk, _couplings(trunk, resolutions), True, context)
        cached(
            teacher,
            Path(config.teacher_cache),
            open_faces(config.rec, corrupt=config.corrupt, native_crops=config.native_crops),
            trunk_fingerprint=fingerprint(trunk.state_dict()),
            interpolation=config.interpolation,
            num_workers=config.num_workers,
        )


def _couplings(trunk: Backbone, resolutions: Sequence[int]) -> tuple[str, ...]:
    return tuple(sorted(trunk.coupling_layer(resolution) for resolution in resolutions))
