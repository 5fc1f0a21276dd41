"""The lines of a log stream's file: what one says, and how much of them one answer carries."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_BYTES = 1 << 20  # of one answer, as AWS limits it
_OVERHEAD = 26  # bytes that AWS counts for an event beside its message


@dataclass(frozen=True)
class Event:
    timestamp: int  # milliseconds since 1970
    message: str
    start: int  # bytes in the file
    end: int

    def answer(self) -> dict[str, Any]:
        return {"timestamp": self.timestamp, "message": self.message, "ingestionTime": self.timestamp}


def read_events(path: Path, place: int = 0) -> Iterator[Event]:
    """The whole lines from `place` on; a line that is not ours (two halves, after a crash) is passed over."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(place)
        for line in file:
            if not line.endswith(b"\n"):
                return
            start, place = place, place + len(line)
            try:
                event = json.loads(line)
                yield Event(int(event["timestamp"]), str(event["message"]), start, place)
            except (ValueError, TypeError, KeyError):
                continue


def read_last_event(path: Path) -> Event | None:
    tail = max(0, path.stat().st_size - (64 << 10))
    # What stands first in the tail may be half a line, which is passed over.
    last = None
    for last in read_events(path, tail):  # noqa: B007
        pass
    if last is None and tail:
        for last in read_events(path):  # noqa: B007
            pass
    return last


def read_forward(path: Path, place: int, limit: int, matches: Callable[[Event], bool]) -> tuple[list[Event], int]:
    """(events, the place after the last one that was looked at)."""
    events: list[Event] = []
    size = 0
    for event in read_events(path, place):
        if matches(event):
            size += len(event.message.encode()) + _OVERHEAD
            if len(events) == limit or (events and size > _MOST_BYTES):
                break
            events.append(event)
        place = event.end
    return events, place


def fit_bytes(events: list[Event], from_end: bool = False) -> list[Event]:
    """As many as one answer may carry, but at least one."""
    size, count = 0, 0
    for event in reversed(events) if from_end else events:
        size += len(event.message.encode()) + _OVERHEAD
        if count and size > _MOST_BYTES:
            break
        count += 1
    return (events[len(events) - count :]) if from_end else events[:count]
