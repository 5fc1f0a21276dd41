"""Files that are whole under their name, or not there: written beside it, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a new name beside `path` that replaces it at the end. After an error nothing is left of it."""
    # No other thread, process or machine that writes the same file has this name, and it is never too long.
    beside = path.with_name(f".{os.urandom(8).hex()}.part")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """In UTF-8, with the line ends it has; folders on the way are made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")
    return path
