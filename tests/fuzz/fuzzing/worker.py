"""Cases run in a child process that may die: with limits of memory and processor time, and an eye on its deeds."""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from fuzzing.target import Seeds, Target, WrongAnswerError, judge_error

OUTCOMES: Final = (
    "",
    "right",
    "other content",
    "clear error",
    "wrong",
    "other error",
    "memory",
    "hang",
    "crash",
    "code run",
)
"""A byte per case in the file of outcomes; 0 is none yet."""
FAILURES: Final = OUTCOMES[4:]

HANG_SECONDS: Final = 20
"""Of processor time, for one case."""

_DEEDS: Final = frozenset(
    [
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "pty.spawn",
        "subprocess.Popen",
        "socket.connect",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.mkdir",
        "os.chmod",
        "os.link",
        "os.symlink",
        "os.kill",
        "shutil.rmtree",
        "ctypes.dlopen",
        "webbrowser.open",
    ]
)


class _Watch:
    """Notes what a reader does beyond reading, by the interpreter's own audit events."""

    def __init__(self) -> None:
        self.is_on = False
        self.deeds: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        writes = (
            event == "open" and len(arguments) > 2 and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        )
        if event in _DEEDS or writes:
            self.deeds.append(f"{event} {str(arguments)[:200]}")
            raise PermissionError(f"{event}: a reader only reads")


def run_cases(target: Target, folder: Path, outcomes: Path, start: int, stop: int) -> None:
    """Run cases `start` to `stop`, a byte of `outcomes` each; details of failures go to a file beside it.

    Args:
        target: the reader.
        folder: its seeds; files are changed in place and put back.
        outcomes: a file of as many bytes as there are cases.
        start: the first case.
        stop: the last, plus one.
    """
    sys.dont_write_bytecode = True
    faulthandler.disable()  # a crash is an outcome, and has no story to tell
    _silence()
    watch = _Watch()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (target.memory_mib << 20),) * 2)
    seeds = Seeds.load(target, folder)
    with open(outcomes, "r+b") as counted, mmap.mmap(counted.fileno(), 0) as board:
        for number in range(start, stop):
            # SIGPROF, unhandled, ends the process: the supervisor reads that as a hang.
            signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
            outcome, detail = _run_case(seeds, number, watch)
            if outcome in FAILURES:
                with open(outcomes.with_suffix(".failures"), "a", encoding="utf-8") as failures:
                    line = json.dumps({"case": number, "outcome": outcome, "detail": detail})
                    failures.write(line + "\n")
            board[number] = OUTCOMES.index(outcome)


def _run_case(seeds: Seeds, number: int, watch: _Watch) -> tuple[str, str]:
    target, change = seeds.target, seeds.change(number)
    folder = seeds.folder / change.seed
    _replace(folder / change.file, change.after)
    watch.deeds.clear()
    watch.is_on = True
    try:
        try:
            found = target.read(folder)
        finally:
            watch.is_on = False
        outcome, detail = "right", ""
        if found != seeds.originals[change.seed]:
            target.judge(seeds.originals[change.seed], found, change)
            outcome = "other content"
    except WrongAnswerError as error:
        outcome, detail = "wrong", str(error)
    except BaseException as error:
        outcome, detail = judge_error(target, folder, error)
    if watch.deeds:
        outcome, detail = "code run", "; ".join(watch.deeds)
    _replace(folder / change.file, change.before)
    return outcome, detail


def _replace(path: Path, content: bytes) -> None:
    # A new file each time: one that is still mapped must not shrink under its reader.
    temporary = path.with_name(".next")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _silence() -> None:
    """Decoders complain on standard error, thousands of times."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
