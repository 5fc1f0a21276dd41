"""`dogbreed local serve`'s server in this process, and clients of it: plain HTTP, raw bytes, boto3."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from dogbreed_cli.local import Home
from dogbreed_cli.local.http_server import Server


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server with the bucket `dogs`."""
    server = Server(Home(folder / "home"))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        assert send(server, "PUT", "/dogs")[0] == 200
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.finish(seconds=5)


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)


def send(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request of a client without a model: (status, headers, body). `x_amz_acl` is written x-amz-acl."""
    connection = connect(server)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def send_raw(server: Server, data: bytes, end: bool = False) -> bytes:
    """All that is answered to these bytes until the connection is closed; with `end` we send no more."""
    with socket.create_connection(server.server_address[:2], timeout=60) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def open_client(server: Server, service: str, **config: Any) -> Any:
    session = boto3.Session("local", "local", region_name="us-east-1")
    return session.client(service, endpoint_url=server.url, config=Config(**config))
