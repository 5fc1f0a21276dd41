"""A training job's input: its channels and its scripts, from S3 into the container's folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local.errors import AwsError, JobError
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import S3Access, Transfer
from dogbreed_cli.source import unpack
from dogbreed_cli.storage import parse_s3_uri


def fetch_channel(access: S3Access, uri: str, folder: Path) -> None:
    """Everything below the prefix. FastFile's files look the same as File's: here they are linked, not copied.

    Both ways of S3DataDistributionType give the one instance all objects. Raises JobError where AWS's download fails.
    """
    bucket, prefix = parse_s3_uri(uri)
    try:
        transfers = place(access.keys(bucket, prefix), prefix, folder)
        access.fetch(bucket, transfers)
    except AwsError as error:
        if error.code != "NoSuchBucket":
            raise JobError(f"ClientError: Data download failed: {error}") from error
        transfers = []
    if not transfers:
        raise JobError(
            f'ClientError: Data download failed: No S3 objects found under S3 URL "{uri}"'
            " given in input data source. Please ensure that the bucket exists in the selected region, that objects "
            "exist under that S3 prefix and that the role has s3:ListBucket permissions on it."
        )


def place(keys: Iterable[str], prefix: str, folder: Path) -> list[Transfer]:
    """Where the objects below a prefix belong in a folder; makes the folders. Raises JobError for what has no place."""
    transfers: list[Transfer] = []
    files: set[Path] = set()
    folders = {folder}
    folder.mkdir(parents=True, exist_ok=True)
    for key in keys:
        relative = key[len(prefix) :].lstrip("/") if key != prefix else key.rpartition("/")[2]
        if not relative or relative.endswith("/"):
            continue  # a folder marker
        target = folder / relative
        if ".." in target.parts:
            raise JobError(f"ClientError: Data download failed: the key {key!r} has no place in a folder")
        new = [parent for parent in target.parents if parent not in folders and folder in parent.parents]
        if target in files or target in folders or not files.isdisjoint(new):  # `a` beside `a/b`, which S3 allows
            raise JobError(f"ClientError: Data download failed: the key {key!r} is in another key's way")
        if new:
            new[0].mkdir(parents=True, exist_ok=True)
            folders.update(new)
        files.add(target)
        transfers.append((key, target))
    return transfers


def fetch_source(access: S3Access, uri: str, beside: Path, folder: Path) -> Path:
    """Unpack the archive at `uri` into `folder`, by way of the folder `beside`."""
    bucket, key = parse_s3_uri(uri)
    archive = beside / "sourcedir.tar.gz"
    beside.mkdir(parents=True, exist_ok=True)
    try:
        access.fetch(bucket, [(key, archive)])
        unpack(archive, folder)
    except (AwsError, DogbreedError) as error:
        raise JobError(f"ClientError: Data download failed: the source archive {uri}: {error}") from error
    # The toolkit would pip-install it. The image is pinned and shared by all jobs, so nothing is installed into it;
    # what a script needs beyond it belongs into an interpreter of its own (local.python).
    (folder / "requirements.txt").unlink(missing_ok=True)
    return folder


def channel_configs(record: Record) -> dict[str, dict[str, str]]:
    """inputdataconfig.json."""
    mode = record["AlgorithmSpecification"].get("TrainingInputMode", "File")
    return {
        channel["ChannelName"]: {
            "ContentType": channel.get("ContentType", "application/octet-stream"),
            "TrainingInputMode": channel.get("InputMode", mode),
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": "None",
        }
        for channel in record.get("InputDataConfig", [])
    }
