"""Faults one at a time: what is said, what is kept, and whether the work ends as if nothing had happened."""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

from btnet.training.checkpoint import saved
from disks import SkippedError, filled, make_read_only, small_disk
from jobs import Job, alive, btnet_command, descendants, wait_until
from tiny_runs import Evaluation, Training, evaluation_data, training_data

__all__ = ["FAULTS", "Outcome", "Place", "try_fault"]

HERE = Path(__file__).parent
NUM_STEPS = 40


@dataclass(frozen=True)
class Outcome:
    """What became of one fault.

    Attributes:
        fault: what was done.
        result: "held", "FAILED" or "skipped".
        said: what the user reads, or why it failed or was skipped.
    """

    fault: str
    result: str
    said: str


class Place:
    """A folder with the data, and the undisturbed runs that others are compared with."""

    def __init__(self, folder: Path, num_faces: int = 600) -> None:
        """Write the data and run both to their ends."""
        self.folder = folder
        self.rec = training_data(folder)
        self.model, self.root = evaluation_data(folder, num_faces)
        whole, evaluation = self.training("whole"), self.evaluation("evaluated")
        for job in (whole.start(), evaluation.start()):
            assert job.wait() == 0, job.output()
        self.weights, self.numbers = whole.weights(), evaluation.numbers()
        self.whole = whole

    def training(self, name: str, *keys: str, at: Path | None = None) -> Training:
        """A run that ends with `weights` if nothing goes wrong."""
        log = self.folder / f"{name}.txt"
        return Training(self.rec, (at or self.folder) / name, NUM_STEPS, keys, log=log)

    def evaluation(self, name: str, *, at: Path | None = None) -> Evaluation:
        """A run that ends with `numbers`."""
        folder, log = at or self.folder, self.folder / f"{name}.txt"
        return Evaluation(self.model, self.root, folder / f"{name}_features", folder / f"{name}.json", log)

    def within(self, name: str) -> Place:
        """The same, with a folder of its own to work in."""
        place = copy.copy(self)
        place.folder = self.folder / name
        place.folder.mkdir()
        return place

    def check_goes_on(self, run: Training, expected_start: int | None = None) -> None:
        """Go on, to the end."""
        job = run.start("resume=True")
        assert job.wait() == 0, job.output()
        if expected_start is not None:
            assert run.resumed_at == expected_start, f"went on after {run.resumed_at}, not {expected_start}"
        assert run.weights() == self.weights, "other weights than the undisturbed run's"


def said(job: Job, text: str) -> str:
    """The line of a job's output that has the text.

    Raises:
        AssertionError: if there is none.
    """
    lines = [line for line in job.output().splitlines() if text in line and "Traceback" not in line]
    assert lines, f"nothing was said of {text!r}: {job.output()[-2000:]}"
    errors = [line for line in lines if "btnet: error:" in line]
    line = (errors or lines)[0]
    return line[line.find("btnet: error:") :] if errors else line.strip()


def disk_full_in_training(place: Place) -> str:
    """The disk fills up while a run of two processes writes checkpoints."""
    with small_disk(place.folder / "small", 16) as disk:
        run = place.training("run", at=disk)
        job = run.start()
        wait_until(lambda: run.newest_checkpoint > 0 or not job.running)
        with filled(disk):
            assert job.wait() != 0, "went on without a disk"
            line = said(job, "No space left on device")
            kept = run.newest_checkpoint
            assert kept > 0
        place.check_goes_on(run, kept)
    return line


def disk_too_small_for_training(place: Place) -> str:
    """The disk is full before a run begins."""
    with small_disk(place.folder / "small", 1) as disk:
        run = place.training("run", at=disk)
        (disk / "run").mkdir()
        with (disk / "filler").open("wb") as file:
            file.write(bytes(900_000))
        job = run.start()
        assert job.wait() != 0
        assert run.last_step == 0
        return said(job, "are free, but checkpoints need")


def disk_full_in_evaluation(place: Place) -> str:
    """The disk has no room for the features of an evaluation; then it has."""
    with small_disk(place.folder / "small", 2) as disk:
        run = place.evaluation("evaluated", at=disk)
        with filled(disk):
            job = run.start()
            assert job.wait() == 2, job.output()
            line = said(job, "No space left on device")
        job = run.start()
        assert job.wait() == 0, job.output()
        assert run.numbers() == place.numbers
    return line


def read_only_output(place: Place) -> str:
    """The output folder of a run is on a read-only disk."""
    with small_disk(place.folder / "small", 1) as disk:
        run = place.training("run", at=disk)
        make_read_only(disk)
        job = run.start()
        assert job.wait() != 0
        return said(job, "cannot write there")


def read_only_result(place: Place) -> str:
    """The result of an evaluation shall be written to a read-only disk."""
    with small_disk(place.folder / "small", 1) as disk:
        make_read_only(disk)
        run = dataclasses.replace(place.evaluation("evaluated"), output=disk / "result.json")
        job = run.start()
        assert job.wait() == 2, job.output()
        return said(job, "Read-only file system")


def worker_killed(place: Place) -> str:
    """A loader process of one rank is killed, as by a kernel that is out of memory."""
    run = place.training("run", "num_workers=1")
    job = run.start()
    wait_until(lambda: run.newest_checkpoint > 0 or not job.running)
    everyone = descendants(job.process.pid)
    servers = [pid for rank in job.ranks() for pid in descendants(rank)]
    workers = [pid for server in servers for pid in descendants(server)]
    assert workers, "no loader process was found"
    os.kill(workers[0], signal.SIGKILL)
    assert job.wait() != 0, "went on without its loader"
    line = said(job, "loader process")
    assert wait_until(lambda: not alive(everyone), seconds=60), "processes were left behind"
    place.check_goes_on(run)
    return line


def nan_in_a_batch(place: Place) -> str:
    """A batch of the second rank is NaN at step 13."""
    run = place.training("run", "frequent=4")
    poison = {"POISONED_RANK": "1", "POISONED_STEP": "13"}
    job = run.start(script=HERE / "poisoned_train.py", **poison)
    assert job.wait() != 0, "learnt from NaN"
    line = said(job, "the loss is not finite at step 12")
    checkpoints = saved(run.output / "checkpoints")
    assert run.newest_checkpoint == 10
    for number, checkpoint in enumerate(checkpoints):
        whole = place.folder / f"checkpoint_{number}.pt"
        dcp_to_torch_save(checkpoint, whole)
        tensors = [v for v in torch.load(whole, weights_only=True).values() if isinstance(v, torch.Tensor)]
        assert len(tensors) > 10
        assert all(torch.isfinite(tensor).all() for tensor in tensors if tensor.is_floating_point())
    place.check_goes_on(run, 10)
    return line


def checkpoint_truncated(place: Place) -> str:
    """The newest checkpoint is cut short, then its metadata, then a file of it is gone."""
    stopped = _stopped(place, "stopped")
    newest = saved(stopped.output / "checkpoints")[-1]
    line = ""
    before = int(saved(stopped.output / "checkpoints")[-2].name.removeprefix("step_"))
    for number, (name, size) in enumerate([("__1_0.distcp", 100), (".metadata", 40), ("__0_0.distcp", None)]):
        run = place.training(f"run_{number}")
        shutil.copytree(stopped.output, run.output)
        file = run.output / "checkpoints" / newest.name / name
        if size is None:
            file.unlink()
        else:
            os.truncate(file, size)
        job = run.start("resume=True")
        assert job.wait() != 0, "went on from a damaged checkpoint"
        line = said(job, f"{newest.name}: damaged checkpoint")
        shutil.rmtree(run.output / "checkpoints" / newest.name)  # what the message says
        place.check_goes_on(run, before)
    return line


def overlay_truncated(place: Place) -> str:
    """A branch's run is killed as it publishes and its overlay is cut short; it is gone on with, and loaded before."""
    keys = (f"trunk={place.whole.output}", "branches=[8]")
    whole, run = (
        dataclasses.replace(place.training(name, *keys), config="demo_btnet_r14")
        for name in ("whole", "killed")
    )
    job = whole.start()
    assert job.wait() == 0, job.output()
    job = run.start()
    wait_until(lambda: run.last_step >= NUM_STEPS - 3 or not job.running)
    job.signal_all(signal.SIGKILL)
    job.wait()
    name = "overlay_r8.safetensors"
    content = (whole.output / name).read_bytes()
    for file in ("model.pt", "btnet.json"):
        shutil.copy(whole.output / file, run.output)
    (run.output / name).write_bytes(content[: len(content) // 2])
    words = (
        "survface",
        run.output,
        "--root",
        place.root,
        "--features",
        place.folder / "f",
        "--device",
        "cpu",
    )
    job = Job(btnet_command(*words), place.folder / "loaded.txt")
    assert job.wait() == 2, job.output()
    line = said(job, name)
    job = run.start("resume=True")
    assert job.wait() == 0, job.output()
    assert run.weights() == whole.weights(), "other weights than the undisturbed run's"
    return line


def terminated_launcher(place: Place) -> str:
    """SIGTERM to torchrun alone."""
    return _terminated(place, "launcher")


def terminated_everyone(place: Place) -> str:
    """SIGTERM to every process at once, loaders too, as a cluster's scheduler sends it."""
    return _terminated(place, "everyone", "num_workers=1")


def terminated_rank(place: Place) -> str:
    """SIGTERM to one rank."""
    return _terminated(place, "rank")


def launcher_killed(place: Place) -> str:
    """Torchrun alone is killed (-9), and the run gone on with while its ranks still live."""
    run = place.training("run")
    job = run.start()
    wait_until(lambda: run.newest_checkpoint > 0 or not job.running)
    ranks = job.ranks()
    for rank in ranks:
        os.kill(rank, signal.SIGSTOP)  # they live, and end no sooner than is wanted
    os.kill(job.process.pid, signal.SIGKILL)
    job.wait()
    second = run.start("resume=True")
    assert second.wait() != 0, "two runs wrote to one folder"
    line = said(second, "another run is writing there")
    for rank in ranks:
        os.kill(rank, signal.SIGKILL)
    wait_until(lambda: not alive(ranks))
    place.check_goes_on(run)
    return line


def clock_jumps(place: Place) -> str:
    """The wall clock jumps by days and years in all processes of a run and of an evaluation."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SkippedError("no C compiler, for a clock that jumps")
    clock = place.folder / "jumping_clock.so"
    source = HERE / "jumping_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(clock), str(source)], check=True)
    run = place.training("run", "num_workers=1")
    job = run.start(LD_PRELOAD=str(clock))
    assert job.wait() == 0, job.output()
    years = {line[:4] for line in run.text.splitlines()}
    assert len(years) > 1, f"the clock did not jump: {years}"
    assert run.weights() == place.weights, "other weights than the undisturbed run's"
    evaluation = place.evaluation("evaluated_then")
    job = evaluation.start(LD_PRELOAD=str(clock))
    assert job.wait() == 0, job.output()
    assert evaluation.numbers() == place.numbers
    return f"train.log bears the years {', '.join(sorted(years))}; weights and numbers are the same"


FAULTS: dict[str, Callable[[Place], str]] = {
    function.__name__: function
    for function in (
        disk_full_in_training,
        disk_too_small_for_training,
        disk_full_in_evaluation,
        read_only_output,
        read_only_result,
        worker_killed,
        nan_in_a_batch,
        checkpoint_truncated,
        overlay_truncated,
        terminated_launcher,
        terminated_everyone,
        terminated_rank,
        launcher_killed,
        clock_jumps,
    )
}


def try_fault(name: str, place: Place) -> Outcome:
    """Bring one fault about, in a folder of its own inside the place's."""
    function = FAULTS[name]
    fault = " ".join((function.__doc__ or "").split()).rstrip(".")
    here = place.within(name)
    try:
        return Outcome(fault, "held", function(here).replace(f"{here.folder}/", ""))
    except SkippedError as reason:
        return Outcome(fault, "skipped", str(reason))
    except AssertionError as error:
        return Outcome(fault, "FAILED", str(error))


def _stopped(place: Place, name: str, *keys: str) -> Training:
    """A run that was told to stop after some checkpoints."""
    run = place.training(name, *keys)
    job = run.start()
    wait_until(lambda: run.newest_checkpoint >= 10 or not job.running)
    job.process.send_signal(signal.SIGTERM)
    job.wait()
    return run


def _terminated(place: Place, whom: str, *keys: str) -> str:
    run = place.training("run", *keys)
    job = run.start()
    wait_until(lambda: run.last_step >= 8 or not job.running)
    everyone = [job.process.pid, *descendants(job.process.pid)]
    begin = time.monotonic()
    if whom == "everyone":
        job.signal_all(signal.SIGTERM)
    else:
        os.kill(job.process.pid if whom == "launcher" else job.ranks()[-1], signal.SIGTERM)
    assert job.wait() != 0
    seconds = time.monotonic() - begin
    stopped = run.last_step
    assert f"stopped after step {stopped}" in run.text, run.text[-2000:]
    assert run.newest_checkpoint == stopped, "steps were lost"
    assert wait_until(lambda: not alive(everyone), seconds=60), "processes were left behind"
    place.check_goes_on(run, stopped)
    return f"stopped and saved after step {stopped}, {seconds:.0f} s after the signal; no step lost"
