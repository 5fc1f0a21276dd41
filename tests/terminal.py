"""A command in a pseudo-terminal of a given width, and what a person sees there when it has ended."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# What moves about a screen: cursor up, erase line, carriage return. Colours and the rest are not seen.
CONTROL = re.compile(
    r"\x1b\[(?P<number>\d*)(?P<letter>[AKJ])|\x1b\[[0-9;?]*[a-zA-Z]|(?P<plain>\r\n|\r|\n|[^\x1b\r\n]+)"
)


@dataclass(frozen=True)
class Seen:
    code: int
    raw: bytes

    @property
    def screen(self) -> str:
        return read_screen(self.raw.decode(errors="replace"))


def run_on_terminal(
    command: list[str], folder: Path, environment: Mapping[str, str], columns: int = 80, typed: bytes = b""
) -> Seen:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    size_free = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "CI")}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**size_free, "TERM": environment.get("TERM", "xterm-256color")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed)
    raw = bytearray()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other side has closed
            break
        if not part:
            break
        raw += part
    os.close(ours)
    return Seen(process.wait(timeout=60), bytes(raw))


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
