"""Records on disk: one JSON file for each job, model or endpoint, written beside and renamed, changed under a lock.

A record is the answer of the operation that describes it (times as epoch seconds, as in AWS's JSON protocol), plus a
few members of our own that botocore's shapes do not know and that therefore never reach a client.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dogbreed_cli.whole_files import written_beside

Record = dict[str, Any]


class Records:
    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.json"

    def create(self, kind: str, name: str, record: Record) -> None:
        """Raises FileExistsError when the name is taken."""
        with self.locked(kind):
            if self.path(kind, name).exists():
                raise FileExistsError(name)
            self.write(kind, name, record)

    def read(self, kind: str, name: str) -> Record | None:
        try:
            return json.loads(self.path(kind, name).read_bytes())
        except FileNotFoundError:
            return None

    def update(self, kind: str, name: str, change: Callable[[Record], Any]) -> Record | None:
        """Read, change and write in one step. None, and nothing written, when the record is gone."""
        with self.locked(kind):
            record = self.read(kind, name)
            if record is not None:
                before = json.dumps(record)
                change(record)
                if json.dumps(record) != before:
                    self.write(kind, name, record)
            return record

    def delete(self, kind: str, name: str) -> None:
        """Raises FileNotFoundError."""
        with self.locked(kind):
            self.path(kind, name).unlink()

    def all(self, kind: str, prefix: str = "") -> list[Record]:
        """Every record of the kind whose name begins with `prefix`, by name."""
        return [record for name in self.names(kind, prefix) if (record := self.read(kind, name)) is not None]

    def names(self, kind: str, prefix: str = "") -> list[str]:
        """For who reads each record anyway, to settle it."""
        return sorted(path.stem for path in (self.folder / kind).glob(f"{prefix}*.json"))

    def write(self, kind: str, name: str, record: Record) -> None:
        with written_beside(self.path(kind, name)) as beside:
            beside.touch(mode=0o600)  # a job's Environment may hold a secret
            beside.write_text(json.dumps(record, indent=1))

    @contextmanager
    def locked(self, kind: str) -> Iterator[None]:
        folder = self.folder / kind
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
