"""A bounded queue before a recogniser: so many requests at work, so many waiting, the next one is refused at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["QueueFullError", "RequestQueue"]


class QueueFullError(RuntimeError):
    """As many requests are at work and waiting as may be; the caller should try again later, or elsewhere."""


class RequestQueue:
    """Bounds what callers in many threads ask of one recogniser.

    Networks share the machine's cores, so that more requests at work are not more work done, only more memory held.
    Those beyond `num_running` wait; those beyond `num_waiting` are told so at once, instead of joining a queue in
    which every answer comes late.

        queue = RequestQueue(num_running=2, num_waiting=32)
        with queue.turn():
            embeddings = recognizer.embed(crops)
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
        self._turns = threading.Semaphore(num_running)

    @property
    def num_admitted(self) -> int:
        """Requests at work and waiting."""
        return self._admitted

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold a place in the queue during the block, waiting or at work.

        Raises:
            QueueFullError: if there is none.
        """
        with self._lock:
            if self._admitted == self.num_running + self.num_waiting:
                raise QueueFullError(
                    f"{self.num_running} requests are at work and {self.num_waiting} are waiting; try again later"
                )
            self._admitted += 1
        try:
            yield
        finally:
            with self._lock:
                self._admitted -= 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and keep it during the block.

        Raises:
            QueueFullError: if no more requests may wait.
        """
        with self.admission(), self._turns:
            yield
