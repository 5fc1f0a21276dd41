"""What was read of a folder's files, kept between uploads: an unchanged file is not read again.

with ImageCache.open(root) as cache:
    reading = cache.find("train/dog/1.jpg", size, changed)
    cache.keep("train/dog/1.jpg", size, changed, reading)

One SQLite file a folder, in the cache folder, so that several uploads at once are SQLite's business. A file is known by
its path, size and times; one that changed within the last seconds is not remembered, since it could change again
within the same tick of the file system's clock.
"""

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dogbreed_cli.cache import cache_folder, forget_unused
from dogbreed_cli.image_reading import Reading

# What a reading means. Another number, and everything is read anew.
VERSION = 3
SETTLED_SECONDS = 2.0
KEPT_DAYS = 90
BATCH = 500  # readings in one transaction: what a kill costs
WAIT_SECONDS = 30.0  # for another upload of the same folder
COLUMNS = ("file", "size", "changed", *Reading._fields)


class ImageCache:
    """`trouble` is what the file of the cache had to complain about; the scan goes on without it."""

    def __init__(self, path: Path):
        self.path = path
        self.trouble = ""
        self.now = time.time()
        self.waiting: list[tuple[object, ...]] = []
        self.database: sqlite3.Connection | None = None
        with self.noting_trouble():
            path.parent.mkdir(parents=True, exist_ok=True)
            forget_unused(path.parent, KEPT_DAYS)
            self.database = sqlite3.connect(path, timeout=WAIT_SECONDS)
            self.prepare(self.database)
            path.touch()

    @classmethod
    @contextmanager
    def open(cls, root: Path) -> Iterator["ImageCache"]:
        name = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
        cache = cls(cache_folder() / "scans" / f"{name}.sqlite")
        try:
            yield cache
        finally:
            cache.close()

    def prepare(self, database: sqlite3.Connection) -> None:
        with database:
            database.execute("BEGIN IMMEDIATE")
            if database.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                database.execute("DROP TABLE IF EXISTS readings")
                database.execute(f"CREATE TABLE readings ({', '.join(COLUMNS)}, PRIMARY KEY (file)) WITHOUT ROWID")
                database.execute(f"PRAGMA user_version = {VERSION}")

    def find(self, file: str, size: int, changed: str) -> Reading | None:
        with self.noting_trouble():
            if self.database:
                where = "file = ? AND size = ? AND changed = ?"
                row = self.database.execute(
                    f"SELECT {', '.join(Reading._fields)} FROM readings WHERE {where}", (encode(file), size, changed)
                ).fetchone()
                return Reading(*row) if row else None
        return None

    def keep(self, file: str, size: int, changed: str, reading: Reading) -> None:
        """`changed` is of image_files.Candidate: times in nanoseconds."""
        if max(map(int, changed.split("."))) < (self.now - SETTLED_SECONDS) * 1e9:
            self.waiting.append((encode(file), size, changed, *reading))
        if len(self.waiting) >= BATCH:
            self.write()

    def write(self) -> None:
        rows, self.waiting = self.waiting, []
        with self.noting_trouble():
            if self.database and rows:
                with self.database:
                    marks = ", ".join("?" * len(COLUMNS))
                    self.database.executemany(f"INSERT OR REPLACE INTO readings VALUES ({marks})", rows)

    def close(self) -> None:
        self.write()
        if self.database:
            self.database.close()
            self.database = None

    @contextmanager
    def noting_trouble(self) -> Iterator[None]:
        """A cache that is broken, locked for long or cannot be written costs time, not the upload: it is given up."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.trouble = f"{self.path} cannot be used ({error}): files are read anew"
            if self.database:
                self.database.close()
                self.database = None


def encode(file: str) -> str | bytes:
    """A name that is no text, as file systems allow, is kept as its bytes."""
    try:
        file.encode()
    except UnicodeEncodeError:
        return file.encode(errors="surrogateescape")
    return file
