"""Ctrl-C and SIGTERM end a run between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a signal has asked this process to stop."""

    received = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C interrupts at once."""
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch the signals in the block, and give them back behind it. Main thread only."""
    request = StopRequest()
    before = [signal.signal(number, request) for number in _SIGNALS]
    try:
        yield request
    finally:
        for number, handler in zip(_SIGNALS, before, strict=True):
            signal.signal(number, handler)
