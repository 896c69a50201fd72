"""The queue before a recogniser: never more at work or waiting than it says, and the next one is told at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from btnet.serving.request_queue import QueueFullError, RequestQueue


class Crowd:
    """Threads that keep their turns until they are let go."""

    def __init__(self, queue: RequestQueue, size: int) -> None:
        self.queue, self.leave = queue, threading.Event()
        self.working, self.most, self.refused, self.served = 0, 0, 0, 0
        self._count = threading.Lock()
        self.busy = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._ask) for _ in range(size)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        try:
            self.queue.run(self._work)
        except QueueFullError:
            with self._count:
                self.refused += 1

    def _work(self) -> None:
        with self._count:
            self.working += 1
            self.most = max(self.most, self.working)
        self.busy.release()
        self.leave.wait()
        with self._count:
            self.working -= 1
            self.served += 1

    def join(self) -> None:
        self.leave.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize(("num_running", "num_waiting"), [(1, 0), (2, 3), (3, 1)])
def test_no_more_are_at_work_or_waiting_than_it_says_and_all_others_are_refused(
    num_running: int, num_waiting: int
) -> None:
    queue = RequestQueue(num_running=num_running, num_waiting=num_waiting)
    crowd = Crowd(queue, 12)
    for _ in range(num_running):
        crowd.busy.acquire()
    # nobody leaves: who is not admitted by now has been refused, without waiting for anybody
    while crowd.refused < 12 - num_running - num_waiting:
        assert queue.num_admitted <= num_running + num_waiting
    with pytest.raises(
        QueueFullError, match=f"{num_running} requests are at work and {num_waiting} are waiting"
    ):
        queue.run(list)
    crowd.join()
    assert crowd.most == num_running
    assert crowd.served == num_running + num_waiting
    assert queue.num_admitted == 0


def test_a_request_that_fails_tells_its_caller_and_gives_its_turn_back() -> None:
    queue = RequestQueue(num_running=1, num_waiting=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            queue.run(lambda: 1 / 0)
    assert queue.run(lambda: queue.num_admitted) == 1


def test_work_is_done_in_no_more_threads_than_are_running_whoever_asks() -> None:
    queue = RequestQueue(num_running=2, num_waiting=30)
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(queue.run, threading.get_ident) for _ in range(32)]
        assert len({future.result() for future in asked}) <= 2


@pytest.mark.parametrize(("num_running", "num_waiting"), [(0, 1), (1, -1)])
def test_numbers_that_admit_nobody_are_refused(num_running: int, num_waiting: int) -> None:
    with pytest.raises(ValueError, match=f"num_running={num_running}"):
        RequestQueue(num_running=num_running, num_waiting=num_waiting)
