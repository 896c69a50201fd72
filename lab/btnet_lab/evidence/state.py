"""What is done, running, waiting or failed, and when it may end: kept in one file, readable while a run goes on."""

from __future__ import annotations

import json
import re
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from btnet.console import show, show_table
from btnet.files.atomic import replacing
from btnet_lab.evidence.plan import Job
from btnet_lab.evidence.record import Record

__all__ = ["Entry", "State", "clock"]

DONE, RUNNING, FAILED, WAITING = "done", "running", "failed", "waiting"
# Seconds per image and pass, one core of two, where nothing of the kind has been run yet.
_GUESSES: Final = {
    "evidence_trunk": 0.04,
    "28 px, cached": 0.012,
    "14 px, cached": 0.007,
    "7 px, cached": 0.004,
    "28 px": 0.02,
    "14 px": 0.012,
    "7 px": 0.008,
}
_EVALUATION_SECONDS = 120.0
_PROGRESS = re.compile(r"step (\d+)/(\d+) .* left ([\d:]+)")


@dataclass
class Entry:
    """A job's state.

    Attributes:
        state: "done", "running", "failed"; a job without entry is waiting.
        seconds: on the wall, over all attempts that ended by themselves or by a signal.
        cpu_seconds: of all threads and loader processes.
        attempts: how often it was begun.
        num_images: seen in training; 0 where nothing is trained.
        device: that learns: "cpu", or the GPU's name.
        digest: of the settings it was begun with.
        text: result or error, one line.
    """

    state: str = WAITING
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    attempts: int = 0
    num_images: int = 0
    device: str = "cpu"
    digest: str = ""
    text: str = ""


class State:
    """The file, read once and written at every change.

    Args:
        folder: of the evidence run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"
        self.entries: dict[str, Entry] = {}
        if self._path.is_file():
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self.entries = {name: Entry(**entry) for name, entry in found.items()}

    def save(self) -> None:
        """Write all entries."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as temporary:
            found = {name: asdict(entry) for name, entry in self.entries.items()}
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    @contextmanager
    def timed(self, name: str) -> Iterator[Entry]:
        """Count the block's time to an entry, however it ends; "done" if it ends well."""
        entry = self.entries.setdefault(name, Entry())
        entry.state, entry.text = RUNNING, ""
        entry.attempts += 1
        self.save()
        wall, cpu = time.monotonic(), _cpu_seconds()
        try:
            yield entry
            entry.state = DONE
        except KeyboardInterrupt:
            entry.state, entry.text = WAITING, "interrupted; goes on from its checkpoint"
            raise
        except Exception as error:
            self.fail(name, error)
            raise
        finally:
            entry.seconds += time.monotonic() - wall
            entry.cpu_seconds += _cpu_seconds() - cpu
            self.save()

    def adopt(self, name: str, record: Record) -> None:
        """Count a job as done whose result file another run wrote."""
        cost = asdict(record.cost)
        self.entries[name] = Entry(DONE, **cost, digest=record.digest, text="measured elsewhere")
        self.save()

    def fail(self, name: str, error: Exception) -> None:
        """Keep why a job did not end well."""
        entry = self.entries.setdefault(name, Entry())
        entry.state, entry.text = FAILED, " ".join(str(error).split())
        self.save()

    def expected_seconds(self, job: Job, num_images: int) -> float:
        """How long a job will take, from those of its kind that are done.

        Args:
            job: that waits.
            num_images: that it will see.
        """
        done = [
            entry
            for name, entry in self.entries.items()
            if entry.state == DONE and name.startswith(f"{job.row.kind}/")
        ]
        seen = sum(entry.num_images for entry in done)
        rate = sum(entry.seconds for entry in done) / seen if seen else _GUESSES.get(job.row.kind, 0.0)
        return num_images * rate + (0.0 if seen else _EVALUATION_SECONDS)

    def show(self, jobs: Sequence[Job], expected_images: dict[str, int], runs: Path, *, alive: bool) -> None:
        """Print all jobs in a table.

        Args:
            jobs: of the plan.
            expected_images: that a job sees, by name.
            runs: folder of their outputs, with train.log.
            alive: whether a run is going on now.
        """
        rows, left = [], 0.0
        for job in jobs:
            entry = self.entries.get(key_of(job), Entry())
            state, text = entry.state, entry.text
            expected = self.expected_seconds(job, expected_images.get(job.name, 0))
            if state == RUNNING:
                state = RUNNING if alive else "stopped"
                progress = _progress(runs / job.name / "train.log")
                text = progress[1] if progress else "starting"
                left += expected * (1 - progress[0]) if progress else expected
            elif state == WAITING:
                left += expected
                text = text or (f"about {clock(expected)}" if expected_images else "")
            rows.append((job.name, state, clock(entry.seconds), clock(entry.cpu_seconds), text))
        show_table("evidence", ("run", "state", "time", "CPU time", ""), rows, text=(0, 1, 4))
        show(
            f"about {clock(left)} left"
            if expected_images
            else "how long it takes is known when the sets are made"
        )


def key_of(job: Job) -> str:
    """Of a job's entry: its kind, for estimates, and its name."""
    return f"{job.row.kind}/{job.name}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; "-" for none."""
    return str(timedelta(seconds=round(seconds))) if seconds else "-"


def _progress(log: Path) -> tuple[float, str] | None:
    """Share that is done, and the last line in words."""
    if not log.is_file():
        return None
    found = _PROGRESS.findall(log.read_text(encoding="utf-8"))
    if not found:
        return None
    done, total, left = found[-1]
    return int(done) / int(total), f"step {done} of {total}, {left} left"


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for (loader workers)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
