"""Run a plan: each job is trained, measured and recorded in order; a second call resumes."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from btnet.console import show
from btnet.data.record_faces import RecordFaces
from btnet.serving.feature_file import EmbeddingCache
from btnet.serving.loading import torch_device
from btnet.serving.results import write_result
from btnet.serving.verify import parse_pair
from btnet.training.output_folder import is_finished
from btnet.training.run import train
from btnet_lab.evidence.cameras import camera_test
from btnet_lab.evidence.comparisons import compare
from btnet_lab.evidence.faces import Sets, Source, prepare
from btnet_lab.evidence.figures import Material, write_figures
from btnet_lab.evidence.job_config import LOCAL, JobConfigs, build_cache
from btnet_lab.evidence.native import native_test
from btnet_lab.evidence.page import about_file, write_page
from btnet_lab.evidence.plan import RESOLUTIONS, Job, Plan, Row, Sweep
from btnet_lab.evidence.record import Cost, Record, choose, measure, read_records
from btnet_lab.evidence.state import DONE, State, clock, key_of


class Runner:
    """One evidence run in one folder.

    Args:
        source: trunk and faces.
        plan: what to run.
        folder: everything is written below it.
        configs: folder of the configs.
        overrides: `key=value` texts for every training.
        known: folders of result files that other runs wrote; a job with the same settings, data and trunk is not run
            again.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        folder: Path,
        *,
        configs: Path,
        overrides: Sequence[str] = (),
        known: Sequence[Path] = (),
    ) -> None:
        self.source, self.plan, self.folder, self.known = source, plan, folder, known
        self.state = State(folder)
        self.sets = Sets(folder / "data")
        self.at = JobConfigs(source, plan, folder, configs, list(overrides), self.sets)
        self._failed: set[str] = set()

    def run(self, only: Collection[str] = ()) -> bool:
        """Everything that is not done yet.

        Args:
            only: names of rows, or of single runs of them (`bt_r14-s2`); the others, and the tests on photographed
                faces, are left for another run. None: all.

        Returns:
            Whether all jobs ended well.

        Raises:
            ValueError, FileNotFoundError: if the faces or the trunk are at fault.
            KeyboardInterrupt: when a signal stopped a training; a checkpoint was saved.
        """
        with self.state.timed("sets"):
            prepare(self.source, self.sets.folder)
        swept = {row.name: sweep for sweep in self.plan.sweeps for row in sweep.rows()}
        jobs = self.plan.jobs()
        self.expected_images()  # reads every job's configuration: what one refuses is told before the first is run
        self._adopt(jobs)
        self._choose(self.plan.sweeps)
        for number, job in enumerate(jobs, start=1):
            if only and not {job.name, job.row.name} & set(only):
                continue
            self._job(job, f"{number}/{len(jobs)} {job.name}")
            if job.row.name in swept:
                self._choose([swept[job.row.name]])
        self._adopt_recorded()
        if not only:
            self._test_natively()
        return not self._failed

    def sum_up(self) -> list[Path]:
        """Compare the rows that are measured, and write the page of them; a run may go on meanwhile."""
        if not read_records(self.at.results):
            raise FileNotFoundError(
                f"{self.folder}: nothing is measured there yet; run `btnet-lab evidence` first"
            )
        self._write_about()
        write_figures(Material(self.at.results, self.at.runs, self.source.trunk, self.sets.bin("test")))
        return write_page(self.at.results, self.folder / "RESULTS.md")

    def _choose(self, sweeps: Sequence[Sweep]) -> None:
        """Record the best settings of each sweep, of those that are measured."""
        records = read_records(self.at.results)
        for sweep in sweeps:
            found = choose(sweep, records)
            if found is not None:
                write_result(self.folder / "choices" / f"{sweep.row.method}.json", found)

    def _adopt(self, jobs: Sequence[Job]) -> None:
        """Take over the result files of other runs; whether they fit is asked job by job."""
        self.at.results.mkdir(parents=True, exist_ok=True)
        for folder, found in self._known():
            for job in jobs:
                if job.name in found and not self.at.record(job).exists():
                    shutil.copyfile(folder / f"{job.name}.json", self.at.record(job))
                    self.state.adopt(key_of(job), found[job.name])

    def _adopt_recorded(self) -> None:
        """Take over results of removed keys, where other runs have them of this trunk and these faces."""
        for folder, found in self._known():
            for job in self.plan.recorded():
                if job.name in found and found[job.name].digest == self.at.digest(job, self.at.config(job)):
                    shutil.copyfile(folder / f"{job.name}.json", self.at.record(job))

    def _known(self) -> Iterator[tuple[Path, dict[str, Record]]]:
        """Result files of other runs: folder, and records by the name of their job."""
        for folder in self.known:
            yield folder, {f"{record.name}-s{record.seed}": record for record in read_records(folder)}

    def _test_natively(self) -> None:
        """The native test and the camera test, of those models that were trained here."""
        models = {}
        for label, names in self.plan.native.items():
            paths = [self.at.model(self.plan.row(name)) for name in names]
            if all(path.exists() for path in paths):
                models[label] = paths
            else:
                show(f"photographed faces: {label} is left out, as not all of {names} were trained here")
        if not models:
            return
        branches = next((runs for runs in models.values() if len(runs) > 1), None)
        try:
            with self.state.timed("native test"):
                native_test(models, self.sets, self.folder, self.at.results)
            if branches is not None:
                with self.state.timed("camera test"):
                    camera_test(branches, self.sets, self.folder, self.at.results)
        except ValueError as error:  # too few faces: no reason to do without the tables
            self._failed.add("photographed faces")
            show(f"photographed faces: failed: {error}")

    def show_status(self, *, alive: bool) -> None:
        """Print all jobs, and when they may end."""
        self.state.show(self.plan.jobs(), self.expected_images(), self.at.runs, alive=alive)

    def _write_about(self) -> None:
        """What belongs to no single job; without a name of anybody."""
        made = self.sets.about()
        sets: dict[str, Any] = {}
        for name in ("test", "choice"):
            people = np.load(self.sets.identities(name), allow_pickle=False)
            facts = made.get(name, {})
            sets[name] = {
                "num_pairs": len(people),
                "num_people": len(np.unique(people)),
                "num_dropped_from_training": len(facts.get("dropped", [])),
            }
        for name in ("train", "part"):
            sets[name] = {key: value for key, value in self._about(name).items() if key != "set"}
        shared = {
            key: {"seconds": entry.seconds, "cpu_seconds": entry.cpu_seconds}
            for key, entry in self.state.entries.items()
            if key == "sets" or key.startswith("cache/")
        }
        comparisons = compare(self.plan, read_records(self.at.results), self.sets.identities("test"))
        write_result(
            about_file(self.at.results), {"sets": sets, "shared": shared, "comparisons": comparisons}
        )

    def expected_images(self) -> dict[str, int]:
        """Images that each job sees in training, by name; 0 where that is not known before the sets are made."""
        if not self.sets.rec("train").is_file():
            return {}
        sizes = {
            name: len(RecordFaces(self.sets.rec(name)))
            for name in {job.row.data for job in self.plan.jobs()}
            if self.sets.rec(name).is_file()
        }
        return {
            job.name: sizes.get(job.row.data, 0) * int(self.at.config(job).num_epoch) if job.row.config else 0
            for job in self.plan.jobs()
        }

    def _job(self, job: Job, title: str) -> None:
        key = key_of(job)
        trunk = self.at.trunk(job.row)
        if job.row.trunk in self._failed or not trunk.exists():
            reason = f"its trunk {job.row.trunk} is not there; where it was measured elsewhere, remove its result file"
            self._give_up(job, title, FileNotFoundError(f"{reason} to have it trained here"))
            return
        config = self.at.config(job)
        digest = self.at.digest(job, config)
        entry = self.state.entries.get(key)
        if entry and entry.state == DONE and entry.digest == digest and self.at.record(job).is_file():
            show(f"{title}: done ({entry.text})")
            return
        if entry is None or entry.digest != digest:
            shutil.rmtree(config.output, ignore_errors=True)
            self.state.entries.pop(key, None)
        show()
        show(title, bold=True)
        try:
            self._ready_cache(job.row, config)
            with self.state.timed(key) as entry:
                entry.digest, entry.device = digest, _name(_device(config))
                if job.row.config and not is_finished(Path(config.output)):
                    entry.num_images = int(config.num_epoch) * len(RecordFaces(config.rec))
                    train(config)
            entry.text = self._measure(job, config)
            self.state.save()
        except (ValueError, OSError, ArithmeticError) as error:
            self._give_up(job, title, error)
            return
        show(f"{title}: {entry.text}; {clock(entry.seconds)}, CPU {clock(entry.cpu_seconds)}")

    def _give_up(self, job: Job, title: str, error: Exception) -> None:
        self._failed.add(job.row.name)
        self.state.fail(key_of(job), error)
        show(f"{title}: failed: {error}")

    def _measure(self, job: Job, config: Any) -> str:
        test = "choice" if job.row.data == "part" else "test"
        entry = self.state.entries[key_of(job)]
        pairs = [parse_pair(text) for text in self._pairs(job.row)]
        record = measure(
            job,
            self.at.trunk(job.row) if not job.row.config else Path(config.output),
            self.source.trunk,
            self.sets.bin(test),
            pairs,
            self.at.record(job),
            store=EmbeddingCache(self.folder / "embeddings"),
            interpolation=config.interpolation,
            device=_device(config),
            about={
                "settings": {key: value for key, value in config.items() if key not in LOCAL},
                "cost": {each.name: getattr(entry, each.name) for each in fields(Cost)},
                "data": self._about(job.row.data),
                "order": self.plan.order(job.row.name),
                "digest": entry.digest,
            },
        )
        return ", ".join(f"{pair} {100 * accuracy:.2f}" for pair, accuracy in record.items())

    def _about(self, data: str) -> dict[str, Any]:
        faces = RecordFaces(self.sets.rec(data))
        return {"set": data, "num_images": len(faces), "num_identities": faces.num_classes}

    def _pairs(self, row: Row) -> list[str]:
        sizes = self.plan.sizes(row)
        return ["112-112", *(f"112-{r}" for r in sizes), *(f"{r}-{r}" for r in sizes)]

    def _ready_cache(self, row: Row, config: Any) -> None:
        if not config.teacher_cache:
            return
        key = f"cache/{self.at.cache(row).name}"
        entry = self.state.entries.get(key)
        if entry and entry.state == DONE:
            return
        with self.state.timed(key):
            build_cache(config, RESOLUTIONS)


def _device(config: Any) -> torch.device:
    return torch_device(config.device or None)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
