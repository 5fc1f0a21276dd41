"""What the commands need of S3: addresses, listings, files and JSON documents, folders fetched and deleted, the bucket.

`client` is a boto3 S3 client; the caller made it for AWS or for the target that answers in this process.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dogbreed_cli.aws_errors import explain
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.parallel import in_parallel
from dogbreed_cli.whole_files import written_beside

DELETE_BATCH = 1000  # keys in one DeleteObjects, AWS's limit
CHUNK = 1 << 20  # bytes
MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}


class S3Uri(NamedTuple):
    bucket: str
    key: str


class S3Object(NamedTuple):
    key: str
    size: int  # bytes
    etag: str  # without the quotes


def parse_s3_uri(uri: str) -> S3Uri:
    """`s3://bucket/some/key` -> (bucket, "some/key"); the key may be empty. Raises UsageError."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"{uri!r} is no S3 address.", fix="Write it as s3://bucket/prefix.")
    return S3Uri(bucket, key)


def make_s3_uri(bucket: str, *parts: str) -> str:
    """The opposite of `parse_s3_uri`; several parts are joined with slashes."""
    return f"s3://{bucket}/{join_key(*parts)}"


def join_key(*parts: str) -> str:
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


def list_objects(client: Any, bucket: str, prefix: str) -> Iterator[S3Object]:
    """All objects whose key begins with the prefix, page by page. End the prefix with a slash to mean a folder."""
    with explain_s3_errors(f"Listing s3://{bucket}/{prefix}"):
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                yield S3Object(item["Key"], item["Size"], item["ETag"].strip('"'))


def fetch(client: Any, uri: str, folder: Path, max_workers: int = 16) -> tuple[Path, ...]:
    """Download an object into a folder, or everything below a prefix with its relative path.

    Each file is written beside its place and renamed when it is whole; nothing is written outside the folder. Gives the
    files, sorted. Raises DogbreedError where nothing is found or a key would lead out of the folder.
    """
    bucket, key = parse_s3_uri(uri)
    below = join_key(key) + "/" if join_key(key) else ""
    found = {item.key: item.key.removeprefix(below) for item in list_objects(client, bucket, below)}
    if not found and key and not key.endswith("/"):
        found = {key: PurePosixPath(key).name}
    wanted = [(key, _resolve_inside(folder, name)) for key, name in found.items() if not key.endswith("/")]
    if not wanted:
        raise DogbreedError(f"There is nothing at {uri}.", fix="Check the bucket, the prefix and the region.")

    def get(item: tuple[str, Path]) -> Path:
        _get_file(client, bucket, *item)
        return item[1]

    return tuple(sorted(in_parallel(get, wanted, max_workers)))


def put_file(client: Any, path: Path, bucket: str, key: str, content_type: str = "application/octet-stream") -> str:
    """Upload a file of any size; gives its s3:// address."""
    with explain_s3_errors(f"Sending {path} to s3://{bucket}/{key}"):
        client.upload_file(str(path), bucket, key, ExtraArgs={"ContentType": content_type})
    return make_s3_uri(bucket, key)


def put_json(client: Any, value: Any, bucket: str, key: str, default: Callable[[Any], Any] | None = None) -> S3Object:
    """Write a JSON document. `default` is that of json.dumps."""
    body = json.dumps(value, separators=(",", ":"), default=default).encode()
    with explain_s3_errors(f"Writing s3://{bucket}/{key}"):
        answer = client.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")
    return S3Object(key, len(body), answer["ETag"].strip('"'))


def read_json(client: Any, bucket: str, key: str) -> Any | None:
    """The opposite of `put_json`; None where there is no such object, or bucket. Raises DogbreedError for no JSON."""
    from botocore.exceptions import ClientError

    with explain_s3_errors(f"Reading s3://{bucket}/{key}"):
        try:
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise
    try:
        return json.loads(body)
    except ValueError as error:
        raise DogbreedError(f"s3://{bucket}/{key} is no JSON document.", str(error)) from error


def delete_objects(client: Any, bucket: str, keys: tuple[str, ...]) -> int:
    """Delete objects by key; gives their number. What is not there counts as deleted, as in S3."""
    from botocore.exceptions import ClientError

    for start in range(0, len(keys), DELETE_BATCH):
        batch = [{"Key": key} for key in keys[start : start + DELETE_BATCH]]
        with explain_s3_errors(f"Deleting from s3://{bucket}"):
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        # DeleteObjects answers 200 also when it refused some of the keys.
        if refused := answer.get("Errors"):
            first = {"Error": refused[0], "ResponseMetadata": answer["ResponseMetadata"]}
            with explain_s3_errors(f"Deleting {len(refused)} objects, first s3://{bucket}/{refused[0].get('Key')},"):
                raise ClientError(first, "DeleteObjects")
    return len(keys)


def delete_prefix(client: Any, bucket: str, prefix: str) -> int:
    """Delete everything in the folder `prefix`; gives the number of objects. A whole bucket is refused."""
    if not join_key(prefix):
        raise UsageError(f"An empty prefix would delete all of s3://{bucket}.", fix="Name the prefix.")
    return delete_objects(
        client, bucket, tuple(item.key for item in list_objects(client, bucket, join_key(prefix) + "/"))
    )


def default_bucket(region: str, account: str) -> str:
    """The name that SageMaker's own SDK uses for its default bucket."""
    return f"sagemaker-{region}-{account}"


def has_bucket(client: Any, bucket: str, region: str) -> bool:
    """Whether the bucket is there. Raises AccessError where it is someone else's, UsageError in another region."""
    from botocore.exceptions import ClientError

    with explain_s3_errors(f"Looking for the bucket {bucket}"):
        try:
            where = client.head_bucket(Bucket=bucket).get("BucketRegion", region)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING | {"NoSuchBucket"}:
                raise
        else:
            if where != region:
                why = f"Jobs in {region} read no data from there."
                raise UsageError(f"The bucket {bucket} is in {where}.", why, f"Name another bucket, or use {where}.")
            return True
    return False


def ensure_bucket(client: Any, bucket: str, region: str) -> bool:
    """Create the bucket where it is missing; True when it was. Raises as `has_bucket`."""
    from botocore.exceptions import ClientError

    if has_bucket(client, bucket, region):
        return False
    # us-east-1 is the one region that must not be named.
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with explain_s3_errors(f"Creating the bucket {bucket}"):
        try:
            client.create_bucket(Bucket=bucket, **place)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":  # Two commands at once: fine.
                raise
    return True


@contextlib.contextmanager
def explain_s3_errors(doing: str) -> Iterator[None]:
    """Turn boto3's errors into ours, with S3's code and request id; `doing` begins the sentence."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        raise explain(error, doing) or error from error


def _get_file(client: Any, bucket: str, key: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        written_beside(path) as beside,
        explain_s3_errors(f"Fetching s3://{bucket}/{key}"),
        beside.open("wb") as file,
    ):
        for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(CHUNK):
            file.write(chunk)


def _resolve_inside(folder: Path, name: str) -> Path:
    path = folder / name
    parts = name.split("/")
    outside = name.startswith("/") or ".." in parts or "\\" in name or "\0" in name
    if outside or not path.resolve().is_relative_to(folder.resolve()):
        raise DogbreedError(f"The key {name!r} would be written outside {folder}.", fix="Nothing was written there.")
    return path
