"""The files behind the local S3. Every write goes beside and is renamed; what is told of an object stands beside too.

    <bucket>/<key>                 the object, a plain file: look at it, link to it, put one there by hand
    .meta/<bucket>/<key>%FE        JSON: ETag, content type, user metadata, and the size and time they belong to
    .buckets/<bucket>              JSON: when and where it was created
    .uploads/<bucket>/<id>/        a multipart upload under way
    .locks/<bucket>  .tmp/         flock for the two renames of a put; half-written files

An object without metadata, or newer than it, is described anew (its MD5 is computed once). A write makes a new inode,
so a job that linked the old file keeps it.
"""

# No Path where each object passes: it costs more than what is done with it (pyproject.toml lets it be).

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3_names import BESIDE, encode_key, find_file

CHUNK = 1 << 20
MOST_RECALLED = 20_000  # of half a kilobyte each
# Of half-written files: of this process and those forked from it, wherever else this folder is mounted.
_RUN, _NUMBERS = uuid.uuid4().hex, itertools.count()
_BUCKET = re.compile(r"(?!.*\.\.)(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Description:
    """What S3 tells of an object beside its bytes. `headers` are boto3's names: ContentType, CacheControl, ..."""

    size: int
    mtime_ns: int
    etag: str  # with its quotes
    headers: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def is_of(self, status: os.stat_result) -> bool:
        return self.size == status.st_size and self.mtime_ns == status.st_mtime_ns


class Store:
    def __init__(self, folder: Path):
        self.folder = Path(folder)
        # With the file's inode, which every write changes: a listing asks for a thousand.
        self.recalled: dict[tuple[str, str], tuple[int, Description]] = {}

    @cached_property
    def half_written(self) -> Path:
        folder = self.folder / ".tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def check_name(self, bucket: str) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400, BucketName=bucket)

    def bucket(self, bucket: str) -> Path:
        """The folder of a bucket that is there."""
        self.check_name(bucket)
        folder = self.folder / bucket
        if not folder.is_dir():
            raise AwsError("NoSuchBucket", "The specified bucket does not exist", 404, BucketName=bucket)
        return folder

    @contextlib.contextmanager
    def lock(self, bucket: str, shared: bool = False) -> Iterator[None]:
        """Between processes and threads alike: an object and its description change together."""
        path = f"{self.folder}/.locks/{bucket}"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            os.makedirs(f"{self.folder}/.locks", exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def temporary(self) -> Iterator[Path]:
        """A new name for a file that is renamed when it is whole; nothing is left of one that was not."""
        path = self.half_written / f"{_RUN}-{os.getpid()}-{next(_NUMBERS)}"
        try:
            yield path
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def received(self, body: BinaryIO) -> Iterator[tuple[Path, str]]:
        """A stream in a temporary file: (file, MD5 in hex)."""
        digest = hashlib.md5(usedforsecurity=False)
        with self.temporary() as path:
            with path.open("wb", buffering=0) as file:
                while chunk := body.read(CHUNK):
                    digest.update(chunk)
                    write_all(file, chunk)
            yield path, digest.hexdigest()

    def place(
        self,
        bucket: str,
        key: str,
        source: Path,
        etag: str,
        headers: dict[str, str],
        metadata: dict[str, str],
        check: Callable[[], None] = lambda: None,
    ) -> Description:
        """Rename `source` to the key's file and describe it, unless `check` raises, which is called under the lock."""
        status = source.stat()
        description = Description(status.st_size, status.st_mtime_ns, f'"{etag}"', headers, metadata)
        # All that takes time is done before: under the lock there are two renames, for which others wait.
        with self._written(description) as described, self.lock(bucket):
            check()
            self._move(bucket, key, source)
            self._describe_by(described, bucket, key)
        self._keep_in_mind(bucket, key, status, description)
        return description

    def adopt(self, bucket: str, key: str, source: Path) -> None:
        """Make `source`, or what it links to, the key's file. It counts as written now.

        No MD5 here, which takes longer than to pack the archive: `describe` computes it for whoever asks first.
        """
        self.bucket(bucket)
        with self.temporary() as temporary:
            try:
                if source.is_symlink() or source.stat().st_nlink > 1:
                    raise OSError("the file has other names, and may be changed under them")
                source.rename(temporary)
            except OSError:  # or another file system
                shutil.copyfile(source, temporary)
                source.unlink()
            now = time.time_ns()
            os.utime(temporary, ns=(now, now))
            with self.lock(bucket):
                self._move(bucket, key, temporary)
                Path(self._describing(bucket, key)).unlink(missing_ok=True)

    def _move(self, bucket: str, key: str, source: Path) -> None:
        path = f"{self.folder}/{bucket}/{encode_key(key)}"  # no Path: of a put those would be a fifth
        try:
            os.replace(source, path)
        except (FileNotFoundError, NotADirectoryError):
            self.bucket(bucket)
            self._make_folders(bucket, Path(path).parent)
            os.replace(source, path)
        except IsADirectoryError:
            os.replace(source, path + BESIDE)
        else:
            if os.path.exists(path + BESIDE):
                os.unlink(path + BESIDE)

    def _make_folders(self, bucket: str, folder: Path) -> None:
        missing = [folder]
        while missing[-1].parent != self.folder / bucket and missing[-1] != self.folder / bucket:
            missing.append(missing[-1].parent)
        for path in reversed(missing):
            if path.is_file():
                # The object `a` makes room for the folder of `a/b`.
                path.replace(path.with_name(path.name + BESIDE))
            path.mkdir(exist_ok=True)

    def _describing(self, bucket: str, key: str) -> str:
        return f"{self.folder}/.meta/{bucket}/{encode_key(key)}{BESIDE}"

    @contextlib.contextmanager
    def _written(self, description: Description) -> Iterator[Path]:
        with self.temporary() as path:
            with path.open("wb", buffering=0) as file:
                write_all(file, json.dumps(vars(description)).encode())
            yield path

    def _describe_by(self, described: Path, bucket: str, key: str) -> None:
        path = self._describing(bucket, key)
        try:
            os.replace(described, path)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(described, path)

    def recall(self, bucket: str, key: str, status: os.stat_result) -> Description | None:
        """What was remembered of the file that has this status; None when it was put or changed by hand."""
        inode, known = self.recalled.get((bucket, key), (0, None))
        if known and inode == status.st_ino and known.is_of(status):
            return known
        try:
            with open(self._describing(bucket, key), "rb") as file:
                description = Description(**json.loads(file.read()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        if not description.is_of(status):
            return None
        self._keep_in_mind(bucket, key, status, description)
        return description

    def _keep_in_mind(self, bucket: str, key: str, status: os.stat_result, description: Description) -> None:
        if len(self.recalled) >= MOST_RECALLED:
            self.recalled.clear()
        self.recalled[bucket, key] = (status.st_ino, description)

    def describe(self, bucket: str, key: str, path: str | Path) -> Description:
        """What is told of the object that was just found at `path`; raises OSError when it is gone."""
        try:
            if description := self.recall(bucket, key, os.stat(path)):
                return description
        except OSError:
            pass
        # Put by hand; or a put stands between its two renames, or has moved the object beside a folder of its name.
        with self.lock(bucket, shared=True):
            file = find_file(self.folder / bucket, key).open("rb")
            status = os.fstat(file.fileno())
            description = self.recall(bucket, key, status)
        with file:
            if description:
                return description
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        description = Description(status.st_size, status.st_mtime_ns, f'"{digest}"')
        with self._written(description) as described:
            with self.lock(bucket), contextlib.suppress(OSError):
                # Another put may have come meanwhile; then its own description stands.
                current = find_file(self.folder / bucket, key).stat()
                if (current.st_ino, current.st_mtime_ns) == (status.st_ino, status.st_mtime_ns):
                    self._describe_by(described, bucket, key)
            described.unlink(missing_ok=True)
        return description

    def open(self, bucket: str, key: str) -> tuple[BinaryIO, Description]:
        """The object's bytes and what belongs to just these; a later put does not change either."""
        folder = self.bucket(bucket)
        for _ in range(10):
            try:
                with self.lock(bucket, shared=True):
                    path = find_file(folder, key)
                    file = path.open("rb")
                    description = self.recall(bucket, key, os.fstat(file.fileno()))
                if description:
                    return file, description
                file.close()
                self.describe(bucket, key, path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise AwsError("NoSuchKey", "The specified key does not exist.", 404, Key=key) from error
        raise AwsError("OperationAborted", f"{key} keeps changing while it is read.", 409)

    def delete(self, bucket: str, key: str) -> None:
        """Idempotent; folders that are empty now go too. Call it with the lock held."""
        path = find_file(self.bucket(bucket), key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
            path.unlink()
        _prune(path.parent, self.folder / bucket)
        describing = Path(self._describing(bucket, key))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            describing.unlink()
        _prune(describing.parent, self.folder / ".meta" / bucket)


def write_all(file: RawIOBase, data: bytes) -> None:
    """Without a buffer, for which Python asks twice more about each file; a raw file may take a part of the data."""
    while data:
        data = data[file.write(data) :]


def _prune(folder: Path, top: Path) -> None:
    while folder != top and top in folder.parents:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return
        folder = folder.parent


def read_json(path: Path) -> dict[str, Any]:
    """{} for a file that is not there."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError):
        return {}
