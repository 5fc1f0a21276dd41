"""Requests that wait together go through the network together. Used by serve.py."""

import contextlib
import queue
import threading
import time
from concurrent.futures import Future

import torch

MOST = 8  # images at once; more is no faster on a CPU, and lets the first of them wait for the last
WAIT = 0.004  # seconds, for images that are being decoded


class Batches:
    """One thread, which makes the engine and runs it on what waits. An image that comes alone is run at once.

    `prepare` gives the engine, a function: uint8 images (n, 3, size, size) -> logits (n, classes), and a sample of MOST
    such images. Torch works in that thread alone: OpenMP has a pool of threads for each thread that it serves, and with
    more of them than cores they no longer wait for each other actively: a forward took a third to two thirds longer.
    """

    def __init__(self, prepare):
        self.waiting = queue.SimpleQueue()  # of (image, the Future of its logits)
        self.coming, self.lock = 0, threading.Lock()
        warm, threads = Future(), torch.get_num_threads()
        threading.Thread(target=self.work, args=(prepare, threads, warm), name="batches", daemon=True).start()
        self.engine = warm.result()
        torch.set_num_threads(1)  # the other threads only decode

    @contextlib.contextmanager
    def expected(self):
        """While this lasts images are on their way: those that are there already wait for them, but not for long."""
        with self.lock:
            self.coming += 1
        try:
            yield
        finally:
            with self.lock:
                self.coming -= 1

    def run(self, images):
        """Each (3, size, size) of uint8 -> logits (n, classes)."""
        found = [(image, Future()) for image in images]
        for one in found:
            self.waiting.put(one)
        return torch.stack([future.result() for _, future in found])

    def work(self, prepare, threads, warm):
        torch.set_num_threads(threads)  # of the calling thread, and of those that are started later
        try:
            engine, sample = prepare()
            for count in range(1, len(sample) + 1):  # each number of images is compiled when it first comes
                engine(sample[:count])
        except BaseException as error:
            warm.set_exception(error)
            return
        warm.set_result(engine)
        while True:
            batch = self.take()
            try:
                logits = self.engine(torch.stack([image for image, _ in batch]))
            except Exception as error:  # each request says so; the thread goes on
                for _, future in batch:
                    future.set_exception(error)
            else:
                for (_, future), row in zip(batch, logits, strict=True):
                    future.set_result(row)

    def take(self):
        """What waits, at least one image and at most MOST."""
        batch = [self.waiting.get()]
        end = time.monotonic() + WAIT
        with contextlib.suppress(queue.Empty):
            while len(batch) < MOST:
                left = end - time.monotonic() if self.coming else 0
                batch.append(self.waiting.get(timeout=max(0, left)))
        return batch
