"""A command in a pseudo-terminal of a given width, and what a person sees there when it has ended."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# What moves about a screen: cursor up, erase line, carriage return. Colours and the rest are not seen.
CONTROL = re.compile(
    r"\x1b\[(?P<number>\d*)(?P<letter>[AKJ])|\x1b\[[0-9;?]*[a-zA-Z]|(?P<plain>\r\n|\r|\n|[^\x1b\r\n]+)"
)


@contextmanager
def open_terminal(columns: int = 80, typed: bytes = b"") -> Iterator[tuple[str, bytearray]]:
    """Yields its path, and what is written there, which is whole after the `with`. A question gets a `typed` line."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    raw = bytearray()
    reader = threading.Thread(target=read_into, args=(ours, raw, typed.splitlines(True)))
    reader.start()
    try:
        yield os.ttyname(theirs), raw
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)


def read_into(descriptor: int, raw: bytearray, answers: list[bytes]) -> None:
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux's way to say that nobody has the other side open any more
            return
        if not part:
            return
        raw += part
        if answers and raw.endswith((b": ", b"] ")):  # the end of a question, where the cursor waits
            os.write(descriptor, answers.pop(0))


def read_screen(text: str) -> str:
    """The lines that are left, without colours, after everything that was drawn over or erased."""
    lines, row, column = [""], 0, 0
    for found in CONTROL.finditer(text):
        plain, letter = found["plain"], found["letter"]
        if plain == "\r":
            column = 0
        elif plain in ("\n", "\r\n"):
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif plain:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + plain + line[column + len(plain) :]
            column += len(plain)
        elif letter == "A":
            row = max(0, row - int(found["number"] or 1))
        elif letter == "K":
            lines[row] = "" if found["number"] == "2" else lines[row][:column]
        elif letter == "J":
            lines[row:] = [lines[row][:column]]
    return "\n".join(line.rstrip() for line in lines).strip("\n") + "\n"
