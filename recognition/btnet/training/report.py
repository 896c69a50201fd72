"""The log of a run: a progress bar on a terminal, plain lines in `train.log`, scalars for TensorBoard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from btnet.console import LogLines, console, shown
from btnet.serving.verify import VerificationResult

logger = logging.getLogger("btnet.training")


class Report:
    """The log of a run, of which only the first rank has one.

    Args:
        folder: of the run; `train.log` (appended to) and `tensorboard/` are written there.
        total_steps: of the run.
        start_step: where it begins or goes on.
        batch_size: images per step over all ranks.
    """

    def __init__(self, folder: Path, *, total_steps: int, start_step: int, batch_size: int):
        # Only here: TensorBoard takes a second to import, and other ranks need none.
        from torch.utils.tensorboard.writer import SummaryWriter

        self.total_steps, self.batch_size = total_steps, batch_size
        self._writer: Any = SummaryWriter(folder / "tensorboard", purge_step=start_step or None)
        self._file = logging.FileHandler(folder / "train.log", encoding="utf-8", errors="backslashreplace")
        self._file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        is_watched = console().is_terminal
        self._progress = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", markup=False),
            console=console(),
            transient=True,
            disable=not is_watched,
        )
        self._bar = self._progress.add_task(
            "", total=total_steps, completed=start_step, epoch="", speed="", losses=""
        )
        self._console = LogLines(error=not is_watched)
        if is_watched:
            # The bar shows what step lines say, so they stay in the file.
            self._console.addFilter(lambda record: record.levelno > logging.DEBUG)
        self._console.setFormatter(
            logging.Formatter("%(asctime)s %(message)s" if is_watched else "%(message)s", "%H:%M:%S")
        )
        self._window_start, self._window_step = time.perf_counter(), start_step
        self._busy, self._done = 0.0, 0

    def __enter__(self) -> Report:
        self._logger_before = logger.level, logger.propagate
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self._file)
        logger.addHandler(self._console)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._writer.close()
        for handler in (self._file, self._console):
            logger.removeHandler(handler)
            handler.close()
        level, logger.propagate = self._logger_before
        logger.setLevel(level)

    def losses(self, step: int, epoch: int, rate: float, means: dict[str, float]) -> None:
        """Log the mean losses of the steps since the last call, up to and including `step`."""
        seconds = time.perf_counter() - self._window_start
        steps = step + 1 - self._window_step
        self._busy, self._done = self._busy + seconds, self._done + steps
        speed = steps * self.batch_size / seconds
        left = timedelta(seconds=round((self.total_steps - step - 1) * self._busy / self._done))
        text = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        logger.debug(
            "step %d/%d  epoch %d  %s  lr %.4g  %.0f images/s  left %s",
            step + 1, self.total_steps, epoch, text, rate, speed, left,
        )  # fmt: skip
        totals = "  ".join(
            f"{n.removesuffix('/total')} {v:.3f}" for n, v in means.items() if n.endswith("/total")
        )
        self._progress.update(
            self._bar,
            completed=step + 1,
            epoch=f"epoch {epoch}",
            speed=f"{speed:.0f} images/s",
            losses=f"loss {totals}",
        )
        for name, value in means.items():
            self._writer.add_scalar(f"loss/{name}", value, step + 1)
        self._writer.add_scalar("learning rate", rate, step + 1)
        self._writer.add_scalar("images per second", speed, step + 1)
        self._window_start, self._window_step = time.perf_counter(), step + 1

    def verification(self, step: int, target: str, results: Iterable[VerificationResult]) -> None:
        """Log the accuracies on one verification set."""
        for result in results:
            logger.info(
                "step %d  %s  %s  accuracy %.2f %% +- %.2f",
                step, target, result.label, 100 * result.accuracy, 100 * result.std,
            )  # fmt: skip
            self._writer.add_scalar(f"accuracy/{shown(target)}/{result.label}", result.accuracy, step)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Leave what happens in the block (verification, saving) out of images/s and the time left."""
        begin = time.perf_counter()
        yield
        self._window_start += time.perf_counter() - begin
