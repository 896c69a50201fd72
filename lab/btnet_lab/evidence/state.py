"""What is done, running, waiting or failed, and the time left: one file, readable during a run."""

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

from btnet.console import show, show_table
from btnet.serving.results import write_result
from btnet_lab.evidence.plan import Job
from btnet_lab.evidence.record import Cost, Record

DONE, RUNNING, FAILED, WAITING = "done", "running", "failed", "waiting"
_PROGRESS = re.compile(r"step (\d+)/(\d+) .* left ([\d:]+)")


@dataclass
class Entry(Cost):
    """A job's state, and what it has cost so far.

    Attributes:
        state: "done", "running", "failed"; a job without entry is waiting.
        digest: of the settings it was started with.
        text: result or error, one line.
    """

    state: str = WAITING
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
        write_result(self._path, {name: asdict(entry) for name, entry in self.entries.items()})

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
        self.entries[name] = Entry(**cost, state=DONE, digest=record.digest, text="measured elsewhere")
        self.save()

    def fail(self, name: str, error: Exception) -> None:
        """Keep why a job did not end well."""
        entry = self.entries.setdefault(name, Entry())
        entry.state, entry.text = FAILED, " ".join(str(error).split())
        self.save()

    def expected_seconds(self, job: Job, num_images: int) -> float | None:
        """How long a job that will see so many images takes, by those of its kind that are done; None: none is."""
        done = [
            entry
            for name, entry in self.entries.items()
            if entry.state == DONE and name.startswith(f"{job.row.kind}/")
        ]
        seen = sum(entry.num_images for entry in done)
        return num_images * sum(entry.seconds for entry in done) / seen if seen else None

    def show(self, jobs: Sequence[Job], expected_images: dict[str, int], runs: Path, *, alive: bool) -> None:
        """Print all jobs in a table."""
        rows, left, unknown = [], 0.0, 0
        for job in jobs:
            entry = self.entries.get(key_of(job), Entry())
            state, text, share = entry.state, entry.text, 0.0
            if state == RUNNING:
                state = RUNNING if alive else "stopped"
                share, text = _progress(runs / job.name / "train.log")
            if state != DONE and state != FAILED:
                expected = self.expected_seconds(job, expected_images.get(job.name, 0))
                unknown += expected is None
                left += (expected or 0.0) * (1 - share)
                text = text or (f"about {clock(expected)}" if expected else "")
            rows.append((job.name, state, clock(entry.seconds), clock(entry.cpu_seconds), text))
        show_table("evidence", ("run", "state", "time", "CPU time", ""), rows, text=(0, 1, 4))
        others = f", and {unknown} runs of kinds that were not timed yet" if unknown else ""
        show(f"time left: about {clock(left)}{others}" if left or unknown else "nothing left to do")


def key_of(job: Job) -> str:
    """Of a job's entry: its kind, for estimates, and its name."""
    return f"{job.row.kind}/{job.name}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; "-" for none."""
    return str(timedelta(seconds=round(seconds))) if seconds else "-"


def _progress(log: Path) -> tuple[float, str]:
    """Share that is done, and the last line in words."""
    found = _PROGRESS.findall(log.read_text(encoding="utf-8")) if log.is_file() else []
    if not found:
        return 0.0, "starting"
    done, total, left = found[-1]
    return int(done) / int(total), f"step {done} of {total}, {left} left"


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for (loader workers)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
