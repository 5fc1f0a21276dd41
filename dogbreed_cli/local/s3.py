"""S3 on this machine: buckets are folders, objects are plain files in them (see s3_store.py for what lies where).

`S3(folder)` answers boto3's operations through wire.py; job workers use `path`, `keys` and `put_file` without boto3.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3_listing import Listing
from dogbreed_cli.local.s3_names import find_file, walk_keys
from dogbreed_cli.local.s3_objects import Objects, check_parameters
from dogbreed_cli.local.s3_store import Store, read_json
from dogbreed_cli.local.s3_uploads import Uploads

ABANDONED_SECONDS = 7 * 24 * 3600


class S3(Objects, Listing, Uploads):
    def __init__(self, folder: Path):
        self.store = Store(folder)
        remove_abandoned(self.store.folder)

    def path(self, bucket: str, key: str) -> Path:
        """The file of an object, which may not exist. Raises AwsError(NoSuchBucket)."""
        return find_file(self.store.bucket(bucket), key)

    def keys(self, bucket: str, prefix: str = "") -> Iterator[tuple[str, Path]]:
        """Keys that begin with `prefix` and their files, in S3's order. Raises AwsError(NoSuchBucket)."""
        folder = self.store.bucket(bucket)
        return ((key.decode(), Path(path)) for key, path in walk_keys(str(folder), prefix.encode()))

    def put_file(self, bucket: str, key: str, source: Path) -> None:
        """Move `source` in as an object, renamed where the file system allows it."""
        self.store.adopt(bucket, key, Path(source))

    def create_bucket(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request, "CreateBucketConfiguration ACL ObjectOwnership")
        bucket = request["Bucket"]
        self.store.check_name(bucket)
        location = request.get("CreateBucketConfiguration", {}).get("LocationConstraint")
        with self.store.lock(bucket):
            try:
                (self.store.folder / bucket).mkdir(parents=True)
            except FileExistsError as error:
                # In us-east-1, and only there, creating one's own bucket again is no error.
                if location:
                    message = "Your previous request to create the named bucket succeeded and you already own it."
                    raise AwsError("BucketAlreadyOwnedByYou", message, 409, BucketName=bucket) from error
            else:
                created = {"LocationConstraint": location, "CreationDate": datetime.now(UTC).isoformat()}
                record = self._record(bucket)
                for folder in (record.parent, self.store.half_written):  # also after all was deleted under a server
                    folder.mkdir(exist_ok=True)
                with self.store.temporary() as temporary:
                    temporary.write_text(json.dumps(created))
                    temporary.replace(record)
        return {"Location": f"/{bucket}"}

    def _record(self, bucket: str) -> Path:
        return self.store.folder / ".buckets" / bucket

    def head_bucket(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request)
        self.store.bucket(request["Bucket"])
        return {"BucketRegion": read_json(self._record(request["Bucket"])).get("LocationConstraint") or "us-east-1"}

    def get_bucket_location(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request)
        self.store.bucket(request["Bucket"])
        return {"LocationConstraint": read_json(self._record(request["Bucket"])).get("LocationConstraint")}

    def list_buckets(self, request: dict[str, Any]) -> dict[str, Any]:
        check_parameters(request)
        folders = sorted(self.store.folder.iterdir()) if self.store.folder.is_dir() else []
        buckets = []
        for folder in folders:
            with contextlib.suppress(AwsError):
                self.store.bucket(folder.name)
                created = read_json(self._record(folder.name)).get("CreationDate")
                moment = (
                    datetime.fromisoformat(created) if created else datetime.fromtimestamp(folder.stat().st_ctime, UTC)
                )
                buckets.append({"Name": folder.name, "CreationDate": moment})
        return {"Buckets": buckets, "Owner": {"DisplayName": "local", "ID": "0" * 64}}

    def delete_bucket(self, request: dict[str, Any]) -> None:
        check_parameters(request)
        bucket = request["Bucket"]
        with self.store.lock(bucket):
            folder = self.store.bucket(bucket)
            try:
                for path, _, _ in os.walk(folder, topdown=False):
                    Path(path).rmdir()
            except OSError as error:
                message = "The bucket you tried to delete is not empty"
                raise AwsError("BucketNotEmpty", message, 409, BucketName=bucket) from error
            self._record(bucket).unlink(missing_ok=True)
            for beside in (".meta", ".uploads"):
                shutil.rmtree(self.store.folder / beside / bucket, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """What a process that was killed left half-written, and multipart uploads that nobody went on with.

    By ctime: a file that is moved in with an old mtime has a new one.
    """
    for path in (*folder.glob(".tmp/*"), *folder.glob(".uploads/*/*")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_ctime < ABANDONED_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
