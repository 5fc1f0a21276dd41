"""CheckpointConfig: a training job's folder of checkpoints and its S3 prefix, kept alike in both directions.

At the start the objects below the prefix are restored. While the program runs its folder goes to S3 every few seconds,
and once more after it has ended, however it ended: new and changed files, oldest first, then the deletions. An object
that this job neither restored nor wrote is never deleted. Where the job's worker was killed, too, who notices that
brings the last state to S3.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event, Thread
from typing import Any

from dogbreed_cli.local.channels import place
from dogbreed_cli.local.errors import AwsError, JobError
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import S3Access, open_access, own
from dogbreed_cli.storage import join_key, parse_s3_uri

CONTAINER_ROOT = "/opt/ml"
DEFAULT_PATH = f"{CONTAINER_ROOT}/checkpoints"
SYNC_SECONDS = 2
Version = tuple[int, int, int]  # inode, size, time of change: differs after a rename and after a write


def checkpoint_folder(record: Record, base: Path) -> Path | None:
    """Where the program of this job finds and leaves its checkpoints; None without a CheckpointConfig."""
    if "CheckpointConfig" not in record:
        return None
    return base / Path(record["CheckpointConfig"].get("LocalPath", DEFAULT_PATH)).relative_to(CONTAINER_ROOT)


def open_checkpoints(access: S3Access, record: Record, base: Path, beside: Path) -> Checkpoints | None:
    folder = checkpoint_folder(record, base)
    return Checkpoints(access, record["CheckpointConfig"]["S3Uri"], folder, beside) if folder else None


def checkpoint_place(request: Mapping[str, Any]) -> tuple[str, str] | None:
    """Bucket and prefix."""
    if "CheckpointConfig" not in request:
        return None
    bucket, prefix = parse_s3_uri(request["CheckpointConfig"]["S3Uri"])
    return bucket, join_key(prefix)


def last_sync(home: Home, record: Record, folder: Path) -> str:
    """Bring what a dead job left in its folder of checkpoints to S3. Why that failed, or nothing."""
    if "CheckpointConfig" in record:
        try:
            checkpoints = open_checkpoints(open_access(home), record, folder / "ml", folder / "fetched")
            assert checkpoints
            checkpoints.sync()  # which deletes nothing: it does not know what the job had restored
        except AwsError as error:
            return str(error)
    return ""


class Checkpoints:
    """The folder of a running job and what S3 has of it. `beside` is a folder for files on their way."""

    def __init__(self, access: S3Access, uri: str, folder: Path, beside: Path):
        self.access, self.folder, self.beside = access, folder, beside
        self.bucket, prefix = parse_s3_uri(uri)
        self.prefix = f"{join_key(prefix)}/" if join_key(prefix) else ""
        self.known: dict[str, Version] = {}  # by path in the folder

    def restore(self) -> None:
        try:
            transfers = place(self.access.keys(self.bucket, self.prefix), self.prefix, self.folder)
            self.access.fetch(self.bucket, transfers)
        except AwsError as error:
            raise JobError(f"ClientError: Data download failed: the checkpoints: {error}") from error
        for _, path in transfers:
            own(path)
            self.known[path.relative_to(self.folder).as_posix()] = version(path.stat())

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Sync every few seconds inside the `with`."""
        over = Event()
        thread = Thread(target=self.keep, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def keep(self, over: Event) -> None:
        while not over.wait(SYNC_SECONDS):
            try:
                self.sync()
            except Exception:  # S3 may answer again next time; the last sync is the one that fails the job.
                traceback.print_exc()

    def sync(self) -> None:
        found = scan(self.folder)
        changed = [name for name, seen in found.items() if self.known.get(name) != seen]
        for name in sorted(changed, key=lambda name: found[name][2]):
            copy = self.beside / "checkpoint"
            if copy_version(self.folder / name, found[name], copy):
                self.access.put(self.bucket, [(self.prefix + name, copy)])
                self.known[name] = found[name]
        if gone := [name for name in self.known if name not in found]:
            self.access.delete(self.bucket, [self.prefix + name for name in gone])
            for name in gone:
                del self.known[name]


def scan(folder: Path) -> dict[str, Version]:
    """The files in the folder, which its program may change meanwhile."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            file = Path(path, name)
            with contextlib.suppress(FileNotFoundError):  # renamed just then, or a link to nowhere
                status = file.stat()
                if stat.S_ISREG(status.st_mode):  # to open a pipe would wait for ever
                    found[file.relative_to(folder).as_posix()] = version(status)
    return found


def version(status: os.stat_result) -> Version:
    return status.st_ino, status.st_size, status.st_mtime_ns


def copy_version(source: Path, wanted: Version, target: Path) -> bool:
    """Copy the file as it was seen; False when the program has replaced, changed or removed it: the next sync sees."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with source.open("rb") as file, target.open("wb") as copy:
            shutil.copyfileobj(file, copy)
            return version(os.fstat(file.fileno())) == wanted
    except FileNotFoundError:
        return False
