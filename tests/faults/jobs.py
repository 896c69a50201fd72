"""Commands run as jobs: started, watched, killed with all that belongs to them, and none of it left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["ROOT", "Job", "alive", "btnet_command", "descendants", "send", "train_command", "wait_until"]

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300.0  # for what takes seconds on an idle machine


def train_command(
    keys: Sequence[str],
    *,
    processes: int = 1,
    launcher: Sequence[str] = ("--standalone",),
    config: str = "demo_hr",
    script: Path = ROOT / "train.py",
) -> list[str]:
    """`train.py CONFIG --set KEY ...`, under torchrun where there is more than one process."""
    torchrun = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", *launcher]
    start = [sys.executable, *(torchrun if processes > 1 else []), str(script)]
    return [*start, str(ROOT / "configs" / config)] + [part for key in keys for part in ("--set", key)]


def btnet_command(*words: object) -> list[str]:
    """`btnet WORDS`, of this tree."""
    return [
        sys.executable,
        "-c",
        "import sys; from btnet.cli import main; sys.exit(main())",
        *map(str, words),
    ]


def wait_until(condition: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Look every millisecond; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def descendants(pid: int) -> list[int]:
    """Children of a process, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # gone meanwhile
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, look_at = [], [pid]
    while look_at:
        below = children.get(look_at.pop(), [])
        found += below
        look_at += below
    return found


class Job:
    """A command with its output in a file.

    Args:
        command: to start.
        log: output and errors, appended.
        environment: added to this process's.
    """

    def __init__(
        self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
                start_new_session=True,
            )
        self.log = log

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def ranks(self) -> list[int]:
        """Pids of the processes that torchrun has started."""
        return [pid for pid in descendants(self.process.pid) if b"train" in _command_line(pid)]

    def wait(self) -> int:
        """Its exit status; below zero for a signal."""
        return self.process.wait(PATIENCE_SECONDS)

    def output(self) -> str:
        """All it has said."""
        return self.log.read_text(errors="replace")

    def processes(self) -> list[int]:
        """Pids of the job: its own, and those of all it has started."""
        return [self.process.pid, *descendants(self.process.pid)]

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to all its processes at once, as a scheduler does."""
        send(number, self.processes())


def send(number: signal.Signals, pids: Sequence[int]) -> None:
    """Send a signal to those of the processes that are there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def alive(pids: Sequence[int]) -> list[int]:
    """Those of the processes that still run; zombies do not."""
    running = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                running.append(pid)
    return running


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
