"""An S3 over HTTP (MinIO, moto, AWS itself) in place of our files, for the commands' clients and for the jobs.

Path style, the credentials that boto3 finds for whoever started the job. Files go by boto3's own transfer manager,
several at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig, create_transfer_manager
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import REGION
from dogbreed_cli.local.s3_access import S3Access, Transfer
from dogbreed_cli.storage import DELETE_BATCH

CONFIG = Config(
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "total_max_attempts": 4},
    connect_timeout=10,
    max_pool_connections=32,
    # S3s that are not AWS's may not know the newer checksums.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


def open_client(endpoint: str, config: Config | None = None) -> Any:
    settings = CONFIG.merge(config) if config else CONFIG
    return boto3.Session().client("s3", region_name=REGION, endpoint_url=endpoint, config=settings)


class SessionWithRemoteS3(boto3.Session):
    """Its S3 clients are real ones to `endpoint`; every other client is what it is in its botocore session."""

    def __init__(self, endpoint: str, **more: Any):
        super().__init__(**more)
        self.endpoint = endpoint

    def client(self, service_name: str, *arguments: Any, **more: Any) -> Any:
        if service_name == "s3":
            return open_client(self.endpoint, more.get("config"))
        return super().client(service_name, *arguments, **more)


class RemoteAccess(S3Access):
    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        with told_as_aws():
            self.client = open_client(endpoint)

    def keys(self, bucket: str, prefix: str) -> Iterator[str]:
        with told_as_aws():
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                yield from (entry["Key"] for entry in page.get("Contents", []))

    def exists(self, bucket: str, key: str) -> bool:
        try:
            with told_as_aws():
                self.client.head_object(Bucket=bucket, Key=key)
        except AwsError as error:
            if error.status == 404:
                return False
            raise
        return True

    def fetch(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        with told_as_aws(), self.transferring() as manager:
            for future in [manager.download(bucket, key, str(target)) for key, target in transfers]:
                future.result()

    def put(self, bucket: str, transfers: Iterable[Transfer]) -> None:
        with told_as_aws(), self.transferring() as manager:
            for future in [manager.upload(str(source), bucket, key) for key, source in transfers]:
                future.result()

    def transferring(self) -> Any:
        """Left by an exception, it cancels what is still under way."""
        return create_transfer_manager(self.client, TransferConfig())

    def delete(self, bucket: str, keys: Iterable[str]) -> None:
        found = list(keys)
        for start in range(0, len(found), DELETE_BATCH):
            batch = [{"Key": key} for key in found[start : start + DELETE_BATCH]]
            with told_as_aws():
                answer = self.client.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            for refused in answer.get("Errors", []):
                raise AwsError(refused.get("Code", "Unknown"), f"{refused.get('Key')}: {refused.get('Message')}")


@contextlib.contextmanager
def told_as_aws() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        raise AwsError(str(told.get("Code")), str(told.get("Message")), status) from error
    except (BotoCoreError, Boto3Error, RetriesExceededError) as error:  # unreachable, no credentials, a broken answer
        raise AwsError(type(error).__name__, str(error)) from error
