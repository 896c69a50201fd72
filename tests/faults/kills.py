"""Kills by SIGKILL at moments drawn from a seed, the work gone on with after each, and what it ended with."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs import Job, alive, send, wait_until
from tiny_runs import SAVE_EVERY, Evaluation, Training

__all__ = ["kill_evaluation", "kill_training"]

# A checkpoint is written while training goes on, and is whole before the next one is begun.
MOST_LOST = 2 * SAVE_EVERY
KILLS_PER_RUN = 10
MOMENTS = ("starting", "training", "training", "writing", "writing")


@dataclass
class Kill:
    """One kill of the training.

    Attributes:
        run: number of the run it fell on.
        killed: "one rank" or "all".
        moment: what was waited for: "starting", "training", "writing" or "publishing".
        while_writing: whether a checkpoint was found half-written.
        step: the last that was done.
        saved: the newest whole checkpoint.
        resumed: the step after which the next life went on.
        left: processes that outlived it.
    """

    run: int
    killed: str
    moment: str
    while_writing: bool = False
    step: int = 0
    saved: int = 0
    resumed: int | None = None
    left: int = 0


def kill_training(
    rec: Path,
    folder: Path,
    num_kills: int,
    *,
    num_steps: int,
    processes: int = 2,
    seed: int = 0,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Kill runs, ten times each, until there were so many kills.

    Args:
        rec: the faces.
        folder: to work in.
        num_kills: in all.
        num_steps: of each run.
        processes: of each run.
        seed: of ranks and moments.
        tell: is called with a line on each kill.

    Returns:
        Counts, for the table, and every kill.
    """
    draws = random.Random(seed)
    undisturbed = Training(rec, folder / "undisturbed", num_steps, processes=processes)
    begin = time.monotonic()
    job = undisturbed.start()
    wait_until(lambda: undisturbed.lives > 0 or not job.running)
    starting = time.monotonic() - begin
    assert job.wait() == 0, job.output()
    kills: list[Kill] = []
    equal, tidy, num_runs = 0, 0, 0
    while len(kills) < num_kills:
        run = Training(rec, folder / f"killed_{num_runs}", num_steps, processes=processes)
        for number in range(min(KILLS_PER_RUN, num_kills - len(kills))):
            last = number == KILLS_PER_RUN - 1
            moment = "publishing" if last else draws.choice(MOMENTS)
            kill = Kill(num_runs, draws.choice(["one rank", "all"]), moment)
            lives = run.lives
            died = _live_and_die(run, kill, draws, starting)
            if run.lives > lives:
                _note_where_it_went_on(run, [earlier for earlier in kills if earlier.run == num_runs])
            if not died:
                break  # it had ended before
            kills.append(kill)
            tell(f"{len(kills)}: {kill}")
        lives, job = run.lives, run.start("resume=True")
        assert job.wait() == 0, job.output()
        if run.lives > lives:
            _note_where_it_went_on(run, [kill for kill in kills if kill.run == num_runs])
        equal += run.weights() == undisturbed.weights()
        tidy += run.files() == undisturbed.files()
        num_runs += 1
        shutil.rmtree(run.output)
    known = [kill for kill in kills if kill.resumed is not None]
    lost = [kill.step - (kill.resumed or 0) for kill in known]
    return {
        "kills": len(kills),
        "of one rank": sum(kill.killed == "one rank" for kill in kills),
        "while a checkpoint was written": sum(kill.while_writing for kill in kills),
        "runs": num_runs,
        "steps of a run": num_steps,
        "steps between saves": SAVE_EVERY,
        "most steps lost": max(lost, default=0),
        "steps that may be lost": MOST_LOST,
        "went on from the newest whole checkpoint": sum(kill.resumed == kill.saved for kill in known),
        "as the run published": sum(kill.step == num_steps for kill in known),
        "had ended when they were killed": len(kills) - len(known),
        "processes left behind": sum(kill.left for kill in kills),
        "runs that ended with the undisturbed run's weights": equal,
        "runs that left no other files": tidy,
        "every kill": [asdict(kill) for kill in kills],
    }


def _note_where_it_went_on(run: Training, kills: list[Kill]) -> None:
    """Tell the run's kills whose next life has begun its loop; behind one that came too late there is none."""
    for kill in kills:
        if kill.resumed is None:
            kill.resumed = run.resumed_at


def _live_and_die(run: Training, kill: Kill, draws: random.Random, starting: float) -> bool:
    """One life of the run; whether the kill came before its end."""
    lives = run.lives
    job = run.start("resume=True")
    if kill.moment == "starting":
        time.sleep(draws.uniform(0, starting))
    else:
        wait_until(lambda: run.lives > lives or not job.running)
    # looked up before the moment: that takes longer than a small model is published in
    ranks, victims = job.ranks(), job.processes()
    if kill.moment == "training":
        time.sleep(draws.uniform(0, 2))
    elif kill.moment == "writing":
        time.sleep(draws.uniform(0, 1))
        wait_until(lambda: run.writing or not job.running)
        time.sleep(draws.uniform(0, 0.02))
    elif kill.moment == "publishing":
        wait_until(lambda: run.publishing or not job.running)
        time.sleep(draws.uniform(0, 0.01))
    if not job.running:
        assert job.wait() == 0, job.output()
        return False
    if not ranks:
        kill.killed = "all"
    send(signal.SIGKILL, victims if kill.killed == "all" else [draws.choice(ranks)])
    ended = job.wait()
    wait_until(lambda: not alive(victims), seconds=60)
    kill.left = len(alive(victims))
    # a life that had not begun has not swept away what the one before it left
    kill.while_writing = run.writing and run.lives > lives
    kill.saved = run.newest_checkpoint
    kill.step = run.last_step if run.lives else 0
    return ended != 0


@dataclass
class EvaluationKill:
    """One kill of the evaluation.

    Attributes:
        run: number of the run it fell on.
        seconds: after its start.
        rows_done: embeddings on disk.
    """

    run: int
    seconds: float
    rows_done: int = 0


def kill_evaluation(
    reference: Evaluation, folder: Path, num_kills: int, *, seed: int = 0, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Kill evaluations until there were so many kills; one that has ended is followed by another from nothing.

    Args:
        reference: an undisturbed one, not yet begun.
        folder: to work in.
        num_kills: in all.
        seed: of the moments.
        tell: is called with a line on each kill.

    Returns:
        Counts, for the table, and every kill.
    """
    draws = random.Random(seed)
    begin = time.monotonic()
    job = reference.start()
    wait_until(lambda: reference.features.is_dir() or not job.running)
    starting = time.monotonic() - begin
    assert job.wait() == 0, job.output()
    whole = time.monotonic() - begin
    rows = reference.rows_done()
    kills: list[EvaluationKill] = []
    equal, same_bits, kept, tidy, num_runs = 0, 0, 0, 0, 0
    while len(kills) < num_kills:
        run = Evaluation(
            reference.model,
            reference.root,
            folder / f"features_{num_runs}",
            folder / f"killed_{num_runs}.json",
        )
        before = 0
        while True:
            first = not kills or kills[-1].run != num_runs
            # a fifth anywhere; the others once features are being written
            seconds = draws.uniform(0, whole) if draws.random() < 0.2 else draws.uniform(starting, whole)
            job = run.start()
            if len(kills) < num_kills and _still_runs_after(job, seconds):
                job.signal_all(signal.SIGKILL)
                job.wait()
                kills.append(EvaluationKill(num_runs, round(seconds, 2), run.rows_done()))
                kept += first or kills[-1].rows_done >= before
                before = kills[-1].rows_done
                tell(f"{len(kills)}: {kills[-1]} of {rows}")
            else:
                assert job.wait() == 0, job.output()
                break
        equal += run.numbers() == reference.numbers()
        same_bits += run.embeddings() == reference.embeddings()
        tidy += not run.left_overs()
        num_runs += 1
        shutil.rmtree(run.features)
    return {
        "kills": len(kills),
        "with some embeddings on disk": sum(0 < kill.rows_done < rows for kill in kills),
        "runs": num_runs,
        "embeddings of a run": rows,
        "kills after which all embeddings that had been written were there": kept,
        "runs that ended with the undisturbed run's numbers": equal,
        "runs that ended with its embeddings, to the bit": same_bits,
        "runs that left no other files": tidy,
        "every kill": [asdict(kill) for kill in kills],
    }


def _still_runs_after(job: Job, seconds: float) -> bool:
    wait_until(lambda: not job.running, seconds=seconds)
    return job.running
