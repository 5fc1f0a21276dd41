"""The HTTP of `dogbreed local serve`: connections, bodies in all their forms, headers, hosts, memory."""

from __future__ import annotations

import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from local_server import connect, send, send_raw, serving

from dogbreed_cli.local.http_body import MOST_BYTES, RequestBody
from dogbreed_cli.local.http_server import Server
from dogbreed_cli.local.wire_body import CHUNK, ChunkedReader


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


def test_a_connection_is_used_again_whatever_was_answered(server: Server) -> None:
    connection = connect(server)
    used = set()
    for method, path, body, status in [
        ("PUT", "/dogs/again", b"x" * 100_000, 200),
        ("PUT", "/nosuchbucket/again", b"x" * 3_000_000, 404),  # a body that nobody wanted
        ("GET", "/dogs/again", None, 200),
        ("HEAD", "/dogs/again", None, 200),
        ("HEAD", "/dogs/nothing", None, 404),
        ("DELETE", "/dogs/again", None, 204),
        ("GET", "/dogs/again", None, 404),
        ("GET", "/dogs?list-type=2", None, 200),
    ]:
        connection.request(method, path, body)
        used.add(connection.sock)
        response = connection.getresponse()
        response.read()
        assert response.status == status, (method, path)
    assert len(used) == 1
    connection.close()


def test_bodies_may_come_in_chunks(server: Server) -> None:
    pieces = [b"a" * 70_000, b"b", b"c" * 1_500_000]
    assert send(server, "PUT", "/dogs/chunks", iter(pieces))[0] == 200
    assert send(server, "GET", "/dogs/chunks")[2] == b"".join(pieces)


@pytest.mark.parametrize("chunk", [64 << 10, 5 << 20])
def test_aws_chunked_bodies_are_decoded(server: Server, chunk: int) -> None:
    data = random.Random(chunk).randbytes(3_000_000)
    signed = b";chunk-signature=" + b"0" * 64
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), signed, piece) for piece in pieces)
    body += b"0\r\nx-amz-checksum-crc32:%x\r\n\r\n" % zlib.crc32(data)
    headers = {
        "Content-Encoding": "aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(data)),
        "x-amz-trailer": "x-amz-checksum-crc32",
    }
    assert send(server, "PUT", "/dogs/aws-chunked", body, **headers)[0] == 200
    status, answered, found = send(server, "GET", "/dogs/aws-chunked")
    assert found == data
    assert "content-encoding" not in answered
    for broken in (body[: len(body) // 2], b"zz\r\n" + body, b"5\r\n" + body):
        status, _, said = send(server, "PUT", "/dogs/broken", broken, **headers)
        assert (status, b"<Code>IncompleteBody</Code>" in said) == (400, True)
        assert send(server, "HEAD", "/dogs/broken")[0] == 404


def test_who_expects_to_be_asked_is_asked(server: Server) -> None:
    head = (
        "PUT /{} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    told = send_raw(server, head.format("dogs/expected").encode() + b"body")
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert send(server, "GET", "/dogs/expected")[2] == b"body"
    # Without a body, too: botocore, not told to go on, would hang in the connection's next answer.
    empty = send_raw(server, head.replace("Length: 4", "Length: 0").format("dogs/empty").encode())
    assert empty.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    refused = send_raw(server, head.format("nosuchbucket/expected").encode())
    assert refused.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close\r\n" in refused


@pytest.mark.parametrize(
    "data",
    [
        b"PUT /dogs/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nonly this",
        b"PUT /dogs/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nonly this",
        b"PUT /dogs/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n",
        b"PUT /dogs/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\nx",
    ],
)
def test_half_a_body_is_no_object(server: Server, data: bytes) -> None:
    assert send_raw(server, data, end=True) == b""
    assert send(server, "HEAD", "/dogs/cut")[0] == 404


def test_ranges_and_conditions(server: Server) -> None:
    send(server, "PUT", "/dogs/letters", b"abcdef")
    etag = send(server, "HEAD", "/dogs/letters")[1]["etag"]
    status, headers, body = send(server, "GET", "/dogs/letters", Range="bytes=2-3")
    assert (status, headers["content-range"], headers["content-length"], body) == (206, "bytes 2-3/6", "2", b"cd")
    assert send(server, "GET", "/dogs/letters", If_None_Match=etag)[0] == 304
    assert send(server, "GET", "/dogs/letters", If_Match='"other"')[0] == 412
    assert send(server, "PUT", "/dogs/letters", b"new", If_None_Match="*")[0] == 412
    assert send(server, "GET", "/dogs/letters", Range="bytes=9-")[0] == 416


def test_what_is_said_of_an_object_stays_text_and_begins_no_header(server: Server) -> None:
    said = "attachment; filename=köter.jpg"
    head = f"PUT /dogs/k%C3%B6ter HTTP/1.1\r\nHost: localhost\r\nContent-Disposition: {said}\r\nContent-Length: 1\r\n"
    assert b" 200 OK" in send_raw(server, f"{head}Connection: close\r\n\r\nx".encode())
    found = server.services["s3"].head_object({"Bucket": "dogs", "Key": "köter"})  # type: ignore[attr-defined]
    assert found["ContentDisposition"] == said
    answered = send_raw(server, b"HEAD /dogs/k\xc3\xb6ter HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert f"Content-Disposition: {said}\r\n".encode() in answered
    _, headers, _ = send(server, "GET", "/dogs/k%C3%B6ter?response-content-type=a%0d%0aSet-Cookie:%20b=c")
    assert headers["content-type"] == "a  Set-Cookie: b=c"
    assert "set-cookie" not in headers


def test_the_bucket_may_stand_in_the_host(server: Server) -> None:
    send(server, "PUT", "/in-host", Host="dogs.localhost:1")
    assert send(server, "GET", "/dogs/in-host")[0] == 200
    assert b"<Name>dogs</Name>" in send(server, "GET", "/?list-type=2", Host="dogs.localhost")[2]


def test_big_bodies_are_never_in_memory() -> None:
    size = 96 << 20

    class Source:
        """An endless one."""

        def read(self, count: int) -> bytes:
            return b"\0" * count

        def readline(self, _: int) -> bytes:
            return next(lines)

    def count(body: Any) -> int:
        return sum(len(data) for data in iter(lambda: body.read(CHUNK), b""))

    class Encoded:
        """One single aws-chunk."""

        pieces = iter([b"%x\r\n" % size, *[b"\0" * CHUNK] * (size // CHUNK), b"\r\n0\r\n\r\n"])

        def read(self, _: int) -> bytes:
            return next(self.pieces, b"")

    lines = iter([b"%x\r\n" % size, b"\r\n", b"0\r\n", b"\r\n"])
    tracemalloc.start()
    try:
        assert count(RequestBody(Source(), size)) == size
        assert count(RequestBody(Source(), None)) == size
        assert count(ChunkedReader(Encoded())) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_a_body_that_has_to_be_in_memory_has_an_end(server: Server) -> None:
    target = {"X-Amz-Target": "SageMaker.ListModels"}
    status, _, said = send(server, "POST", "/", b" " * (MOST_BYTES + 1), **target)
    assert (status, json.loads(said)["__type"]) == (413, "RequestEntityTooLargeException")
