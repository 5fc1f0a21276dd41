"""Clients of the S3 on this machine, in this process and over HTTP, and keys that are hard to keep."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from dogbreed_cli.local import Home, wire
from dogbreed_cli.local.http_server import Server
from dogbreed_cli.local.s3 import S3

MODELS = botocore.session.get_session().get_component("data_loader")  # read once, not once a client
PATH_STYLE = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
WEIRD_KEYS = [
    "plain.jpg",
    "with space & plus+and=equal?#%.jpg",
    "%41%2F%zz%FF",
    "ümläut/日本語/🐕.jpg",
    "quote'\"<>&;:,$@!*()~.jpg",
    "deep/" * 50 + "file",
    "a" * 1000,
    "dir/" + "é" * 400 + "/x",
]
# moto's HTTP server normalises these, or does not find them.
PATHS_IN_DISGUISE = [
    "tab\tand\r\nnewline",
    "../../escape",
    "a/../../../b",
    "./x",
    "a/./b",
    "..",
    ".",
    "/leading",
    "a//b",
    "//",
    "folder/",
    "a%",
]


def make_client(store: S3, config: Config = PATH_STYLE) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", MODELS)
    session.set_credentials("testing", "testing")
    wire.register(session, {"s3": store})
    return boto3.Session(botocore_session=session, region_name="us-east-1").client("s3", config=config)


@contextmanager
def serve_s3(folder: Path) -> Iterator[Any]:
    """A client of our own S3 over HTTP."""
    server = Server(Home(folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    session = boto3.Session("local", "local", region_name="us-east-1")
    try:
        yield session.client("s3", config=PATH_STYLE, endpoint_url=server.url)
    finally:
        server.shutdown()
        thread.join()
        server.finish(seconds=5)


def fails(code: str, status: int, call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return caught.value.response


def keys_of(response: dict[str, Any]) -> list[str]:
    return [item["Key"] for item in response.get("Contents", [])]
