"""A bounded queue before a recogniser: so many requests at work, so many waiting, the next one is refused at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["QueueFullError", "RequestQueue"]

_Answer = TypeVar("_Answer")


class QueueFullError(RuntimeError):
    """As many requests are at work and waiting as may be; the caller should try again later, or elsewhere."""


class RequestQueue:
    """Bounds what callers in many threads ask of one recogniser.

    Networks share the machine's cores, so that more requests at work are not more work done, only more memory held.
    Those beyond `num_running` wait; those beyond `num_waiting` are told so at once, instead of joining a queue in
    which every answer comes late. Work is done in threads of the queue's own: torch and malloc keep memory for each
    thread that has run a network, which would add up over the callers.

        queue = RequestQueue(num_running=2, num_waiting=32)
        embeddings = queue.run(lambda: recognizer.embed(crops))
    """

    def __init__(self, *, num_running: int, num_waiting: int) -> None:
        """Make an empty queue.

        Args:
            num_running: requests at work at a time.
            num_waiting: requests that may wait for their turn.

        Raises:
            ValueError: for a number below 1 (running) or 0 (waiting).
        """
        if num_running < 1 or num_waiting < 0:
            raise ValueError(
                f"num_running={num_running}, num_waiting={num_waiting}: expected at least 1 and 0"
            )
        self.num_running, self.num_waiting = num_running, num_waiting
        self._admitted = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(num_running, "btnet-request")

    @property
    def num_admitted(self) -> int:
        """Requests at work and waiting."""
        return self._admitted

    def run(self, work: Callable[[], _Answer]) -> _Answer:
        """Wait for a turn, do the work, and hand back its answer.

        Args:
            work: what to do.

        Raises:
            QueueFullError: if no more requests may wait.
            Exception: what the work raises.
        """
        with self._lock:
            if self._admitted == self.num_running + self.num_waiting:
                raise QueueFullError(
                    f"{self.num_running} requests are at work and {self.num_waiting} are waiting; try again later"
                )
            self._admitted += 1
        return self._threads.submit(self._work, work).result()

    def _work(self, work: Callable[[], _Answer]) -> _Answer:
        try:
            return work()
        finally:
            # here and not in `run`: a caller that is interrupted leaves work behind that still counts
            with self._lock:
                self._admitted -= 1
