"""parallel.py: work in threads that ends at the first error, and how many requests are in flight."""

import threading
import time

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


class Server:
    """So many requests at once take `seconds` each; more than that are told to slow down, or wait for their turn."""

    def __init__(self, seconds: float, room: int, refuses: bool):
        self.seconds, self.refuses = seconds, refuses
        self.room = threading.Semaphore(room)

    def ask(self, _) -> bool:
        is_slowed = self.refuses and not self.room.acquire(blocking=False)
        if is_slowed or not self.refuses:
            self.room.acquire()
        time.sleep(self.seconds)
        self.room.release()
        return is_slowed


def settle(server: Server, requests: int) -> Pace:
    pace = Pace(least=4, most=32)
    for is_slowed in in_parallel(server.ask, range(requests), pace.most, pace):
        pace.note(is_slowed)
    return pace


def test_a_far_server_gets_many_requests_at_once():
    assert settle(Server(0.01, room=100, refuses=False), 600).at_once == 32


def test_a_server_that_does_one_at_a_time_gets_few():
    assert settle(Server(0.002, room=1, refuses=False), 200).at_once == 4


def test_a_server_that_refuses_is_asked_more_slowly():
    server, most = Server(0.005, room=8, refuses=True), []
    pace = Pace(least=4, most=32)
    for is_slowed in in_parallel(server.ask, range(1000), pace.most, pace):
        pace.note(is_slowed)
        most.append(pace.at_once)
    assert max(most) <= 16 and sum(most[-500:]) / 500 <= 12
