"""Files that are whole under their name, or not there: written beside it, then renamed.

What is no file can only be written into: a pipe, a device.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give a new name beside `path` that replaces it at the end. After an error nothing is left of it.

    Or `path` itself, where it is no file that could be replaced.
    """
    target = find_target(path)
    if target is None:
        yield path
        return
    # No other thread, process or machine that writes the same file has this name, and it is never too long.
    beside = target.with_name(f".{os.urandom(8).hex()}.part")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def find_target(path: Path) -> Path | None:
    """The file to replace: behind a link what it leads to, there or not. None for a pipe, a device or a folder."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
    except OSError:  # nothing there yet, or nothing to be had: who writes it is told
        pass
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def write_text(path: Path, text: str) -> Path:
    """In UTF-8, with the line ends it has; folders on the way are made. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")
    return path
