"""An AWS over HTTP for tests (moto's; its state is this process's, not the server's), and clients of its S3."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from dogbreed_cli import storage


@contextmanager
def serve_moto() -> Iterator[str]:
    """The server's URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def open_client(endpoint: str, region: str = "us-east-1", **options):
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32, s3={"addressing_style": "path"})
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client("s3", region, endpoint_url=endpoint, config=config, **keys, **options)


def list_keys(client, bucket, prefix="") -> dict[str, str]:
    return {item.key: item.etag for item in storage.list_objects(client, bucket, prefix)}


def count_requests(client) -> Counter:
    """Requests by operation, as they leave this process; clear it to count anew."""
    seen: Counter = Counter()
    client.meta.events.register("before-send.s3", lambda event_name, **_: seen.update([event_name.split(".")[-1]]))
    return seen
