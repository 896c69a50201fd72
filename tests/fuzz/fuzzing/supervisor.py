"""Runs the cases of a target in child processes, and outlives them: a death is an outcome, the next follows."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzzing.target import Target
from fuzzing.worker import OUTCOMES, run_cases

_BATCH: Final = 500
_STUCK_SECONDS: Final = 300  # without progress, whatever the processor time says


@dataclass(frozen=True)
class Failure:
    """A case that neither was right nor ended in one clear error."""

    case: int
    outcome: str
    detail: str


@dataclass(frozen=True)
class Report:
    """Counts of a target's outcomes, and the failures."""

    target: Target
    counts: Counter[str]
    failures: tuple[Failure, ...]


def run_target(target: Target, num_cases: int, *, first: int = 0) -> Report:
    """Run cases `first` to `first + num_cases`.

    Raises:
        RuntimeError: if the target's seeds cannot be made or read; the traceback is in the message.
    """
    with tempfile.TemporaryDirectory(dir=_fast_folder()) as name:
        folder = Path(name)
        seeds, outcomes = folder / "seeds", folder / "outcomes"
        seeds.mkdir()
        outcomes.write_bytes(bytes(first + num_cases))
        _in_child(lambda: target.make(seeds), f"{target.name}: the seeds cannot be made")
        failures: list[Failure] = []
        start, stop = first, first + num_cases
        while start < stop:
            end = min(start + _BATCH, stop)
            status = _watch(lambda a=start, b=end: run_cases(target, seeds, outcomes, a, b), outcomes)  # type: ignore[misc]
            done = outcomes.read_bytes()[start:end]
            if 0 not in done:
                start = end
                continue
            case = start + done.index(0)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _BROKEN:
                raise RuntimeError(f"{target.name}: case {case}: {(folder / 'outcomes.broken').read_text()}")
            failures.append(_death(case, status))
            with open(outcomes, "r+b") as file:
                file.seek(case)
                file.write(bytes([OUTCOMES.index(failures[-1].outcome)]))
            # The case that died left its file changed.
            _in_child(lambda: target.make(seeds), f"{target.name}: the seeds cannot be made")
            start = case + 1
        listed = outcomes.with_suffix(".failures")
        lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        failures += [Failure(**json.loads(line)) for line in lines]
        counts = Counter(OUTCOMES[value] for value in outcomes.read_bytes()[first:])
        return Report(target, counts, tuple(sorted(failures, key=lambda failure: failure.case)))


_BROKEN: Final = 99


def _fork(work: Callable[[], None], broken: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = _BROKEN
    try:
        work()
        status = 0
    except BaseException:
        broken.write_text(traceback.format_exc(), encoding="utf-8")
    finally:
        os._exit(status)


def _watch(work: Callable[[], None], outcomes: Path) -> int:
    """Wait for a child; kill it where nothing moves for too long. Its status."""
    child = _fork(work, outcomes.with_suffix(".broken"))
    progress, since = -1, time.monotonic()
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        now = outcomes.read_bytes().count(0)
        if now != progress:
            progress, since = now, time.monotonic()
        elif time.monotonic() - since > _STUCK_SECONDS:
            os.kill(child, signal.SIGPROF)
            return os.waitpid(child, 0)[1]
        time.sleep(0.02)


def _in_child(work: Callable[[], None], problem: str) -> None:
    """What may start threads is kept out of the process that forks."""
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder, "broken")
        status = os.waitpid(_fork(work, broken), 0)[1]
        if status:
            raise RuntimeError(f"{problem}: {broken.read_text() if broken.is_file() else status}")


def _death(case: int, status: int) -> Failure:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        outcome = "hang" if number == signal.SIGPROF else "crash"
        return Failure(case, outcome, f"ended by {signal.Signals(number).name}")
    return Failure(case, "crash", f"left with status {os.WEXITSTATUS(status)}")


def _fast_folder() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
