"""What jobs and endpoints need of S3: a few methods over many objects, on our own files or on an S3 over HTTP."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.s3 import S3

Transfer = tuple[str, Path]  # a key and the file that it becomes, or that becomes it


class S3Access(ABC):
    """Every method raises AwsError with S3's code and words, or with why S3 could not be asked."""

    @abstractmethod
    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        """In S3's order."""

    @abstractmethod
    def exists(self, bucket: str, key: str) -> bool: ...

    @abstractmethod
    def fetch(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        """Objects to files that do not exist yet, in folders that do. Whoever wants to write to them calls `own`."""

    @abstractmethod
    def put(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        """Files to objects. The files may be gone afterwards."""

    @abstractmethod
    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        """What is not there counts as deleted."""


def open_access(home: Home) -> S3Access:
    if home.s3_endpoint is None:
        return FileAccess(S3(home.s3))
    from dogbreed_cli.local.s3_remote import RemoteAccess

    return RemoteAccess(home.s3_endpoint)


def own(path: Path) -> None:
    """Make a fetched file the caller's alone, where it is S3's own file under another name."""
    status = path.stat()
    if status.st_nlink > 1:
        with path.open("rb") as source:
            path.unlink()  # and not a copy beside it: whatever name that had, another fetched file may have it
            with path.open("xb") as copy:
                shutil.copyfileobj(source, copy)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


class FileAccess(S3Access):
    """Hard links, not copies: at once, and who fetched a file keeps it while a new upload renames another in."""

    def __init__(self, s3: S3):
        self.s3 = s3

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        return (key for key, _ in self.s3.keys(bucket, prefix))

    def exists(self, bucket: str, key: str) -> bool:
        return self.s3.path(bucket, key).is_file()

    def fetch(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        for key, target in transfers:
            try:
                link(self.s3.path(bucket, key), target)
            except FileNotFoundError:
                raise AwsError("NoSuchKey", "The specified key does not exist.", 404, Key=key) from None

    def put(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        for key, source in transfers:
            self.s3.put_file(bucket, key, source)

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        with self.s3.store.lock(bucket):
            for key in keys:
                self.s3.store.delete(bucket, key)


def link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
