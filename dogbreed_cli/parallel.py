"""Work in threads: one piece meanwhile, or many small ones at once, and how many of them at once.

listed = meanwhile(lambda: list_place(...))
...
listed()    # waits for it

for answer in in_parallel(ask, questions, max_workers=8):    # as they come, in no order
    ...
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

WINDOW = 8  # answers for each request in flight, until a rate is believed
GAIN = 1.1  # times as fast: less is not worth twice as many requests in flight


def meanwhile(work: Callable[[], R]) -> Callable[[], R]:
    """Begin it in a thread. Gives what waits for its answer, or raises its error.

    concurrent.futures could do it, but its import would delay what is begun by more than the rest of this.
    """
    answers: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            errors.append(error)

    def wait() -> R:
        thread.join()
        if errors:
            raise errors[0]
        return answers[0]

    # A command that ends with an error of its own waits for no answer any more.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return wait


class Pace:
    """How many requests are in flight: twice as many while that makes it faster, half as many when asked to slow down.

    pace = Pace(least=4, most=32)
    for answer in in_parallel(send, images, pace.most, pace):
        pace.note(is_slowed=False)

    So a server near by, where the processor is the limit, gets few at once, and one behind a long way gets many.
    """

    def __init__(self, least: int, most: int):
        self.at_once, self.most = least, most
        self.best, self.best_rate = least, 0.0  # answers a second
        self.is_rising = True
        self.answers, self.begin = 0, time.monotonic()

    def note(self, is_slowed: bool) -> None:
        """Count an answer; `is_slowed` when the server had sent that request away for a while."""
        self.answers += 1
        # Those in flight were all asked at one pace: they slow down once.
        if is_slowed and self.answers > self.at_once:
            self.at_once, self.best_rate, self.is_rising = max(1, self.at_once // 2), 0.0, True
        elif self.answers < WINDOW * self.at_once:
            return
        elif self.is_rising:
            self.compare(self.answers / (time.monotonic() - self.begin))
        self.answers, self.begin = 0, time.monotonic()

    def compare(self, rate: float) -> None:
        if rate > GAIN * self.best_rate:
            self.best, self.best_rate = self.at_once, rate
            self.at_once = min(2 * self.at_once, self.most)
            self.is_rising = self.at_once > self.best
        else:
            self.at_once, self.is_rising = self.best, False


def in_parallel(
    function: Callable[[T], R], items: Iterable[T], max_workers: int, pace: Pace | None = None
) -> Generator[R, None, None]:
    """Results of `function`, as they come, from a pool of threads with a short queue; with `pace` without one.

    The first error (or Ctrl-C) drops what has not begun and is raised as soon as what has begun is over. Where more is
    done with a result than to keep it, close this (contextlib.closing): an error there does not come here by itself.
    """
    from concurrent.futures import ThreadPoolExecutor

    # Each future comes by itself: concurrent.futures.wait would go through all that are in flight for every result.
    done: SimpleQueue[Future[R]] = SimpleQueue()
    items, waiting = iter(items), 0
    pool = ThreadPoolExecutor(max_workers)
    try:
        while True:
            room = (pace.at_once if pace else 4 * max_workers) - waiting
            for item in itertools.islice(items, max(0, room)):
                pool.submit(function, item).add_done_callback(done.put)
                waiting += 1
            if not waiting:
                return
            future = done.get()
            waiting -= 1
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
