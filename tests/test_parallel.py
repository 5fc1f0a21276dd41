"""parallel.py: work in threads that ends at the first error, and how many requests are in flight."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from dogbreed_cli.parallel import Pace, in_parallel


def test_in_parallel_stops_at_the_first_error_with_a_short_queue():
    taken, begun = [], []

    def items():
        for n in range(10_000):
            taken.append(n)
            yield n

    def work(n):
        begun.append(n)
        time.sleep(0.001)
        if n == 20:
            raise KeyError(n)
        return n

    with pytest.raises(KeyError):
        list(in_parallel(work, items(), 4))
    assert len(taken) < 60 and len(begun) < 60
    assert sorted(in_parallel(lambda n: n * n, range(500), 8)) == [n * n for n in range(500)]


def test_a_process_that_ends_does_not_wait_for_what_is_done_meanwhile():
    """As `upload` does which found no data set, where the network answers nothing for minutes."""
    code = "import sys, threading; from dogbreed_cli.parallel import meanwhile; "
    code += "meanwhile(threading.Event().wait); sys.exit(3)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 3


class Server:
    """So many requests at once take `seconds` each; more than that are told to slow down."""

    def __init__(self, seconds: float, room: int):
        self.seconds, self.room = seconds, threading.Semaphore(room)

    def ask(self, _) -> bool:
        is_slowed = not self.room.acquire(blocking=False)
        if is_slowed:
            self.room.acquire()
        time.sleep(self.seconds)
        self.room.release()
        return is_slowed


def settle(monkeypatch: pytest.MonkeyPatch, answers_in_a_second: Callable[[int], float]) -> int:
    """How many are in flight in the end, of a server that answers so many of n at once; by a clock of its own."""
    now = 0.0
    monkeypatch.setattr("dogbreed_cli.parallel.time.monotonic", lambda: now)
    pace = Pace(least=4, most=32)
    for _ in range(2000):
        now += 1 / answers_in_a_second(pace.at_once)
        pace.note(is_slowed=False)
    return pace.at_once


def test_a_far_server_gets_many_requests_at_once(monkeypatch):
    assert settle(monkeypatch, lambda at_once: at_once / 0.05) == 32


def test_a_server_that_does_few_at_a_time_gets_few(monkeypatch):
    assert settle(monkeypatch, lambda at_once: 500) == 4
    assert settle(monkeypatch, lambda at_once: 100 * min(at_once, 12)) == 16


def test_a_server_that_refuses_is_asked_more_slowly():
    server, most = Server(0.005, room=8), []
    pace = Pace(least=4, most=32)
    for is_slowed in in_parallel(server.ask, range(1000), pace.most, pace):
        pace.note(is_slowed)
        most.append(pace.at_once)
    assert max(most) <= 16 and sum(most[-500:]) / 500 <= 12
