"""Pipes with a name, which a program takes for files until it looks closer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def read_pipe(path: Path) -> Iterator[Callable[[], bytes]]:
    """Make the pipe and hold it open; what is given reads all that was written, up to what a pipe holds."""
    os.mkfifo(path)
    # For both ways: with no writer yet and none any more it is neither waited for nor at its end.
    end = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield lambda: os.read(end, 2**16)
    finally:
        os.close(end)
