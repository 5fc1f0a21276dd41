"""`dogbreed local serve` itself: it starts, says where it is, keeps strangers out, answers what HTTP allows, ends."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.serialize import create_serializer
from conftest import Dogbreed, clean_environment, wait_for
from local_jobs import machine_in
from served import Served, serve
from test_local_wire import SERVICES, draw

from dogbreed_cli.local import Home
from dogbreed_cli.local.http_body import MOST_BYTES, RequestBody
from dogbreed_cli.local.http_routes import Routes
from dogbreed_cli.local.http_server import Server
from dogbreed_cli.local.wire_body import CHUNK, ChunkedReader


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in this process, with the bucket `dogs`."""
    server = Server(Home(tmp_path_factory.mktemp("served") / "home"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert send(server, "PUT", "/dogs")[0] == 200
    yield server
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


# ---- the command


def test_it_says_where_it_is_and_ends_on_sigterm(tmp_path: Path) -> None:
    with serve(Home(tmp_path)) as served:
        idle = http.client.HTTPConnection("127.0.0.1", int(served.url.rpartition(":")[2]), timeout=60)
        idle.request("GET", "/")
        assert b"ListAllMyBucketsResult" in idle.getresponse().read()  # and the connection stays open
        wait_for(lambda: ("s3:ListBuckets", 200) in served.calls)
        assert served.end() == 0
    said = "".join(served.lines)
    assert f"export AWS_ENDPOINT_URL={served.url}\n" in said
    assert "export AWS_ACCESS_KEY_ID=local\n" in said
    assert "Signatures are not checked; only this machine can reach it" in said
    assert "Traceback" not in said
    idle.close()


def test_ctrl_c_is_the_normal_end_and_json_is_one_document(dogbreed: Dogbreed) -> None:
    process = dogbreed.start("--json", "local", "serve", "--port", "0")
    assert process.stdout
    lines: list[str] = []
    while not lines or lines[-1] != "}\n":
        lines.append(process.stdout.readline())
    document = json.loads("".join(lines))
    assert document["environment"]["AWS_ENDPOINT_URL"] == document["url"]
    with urllib.request.urlopen(document["url"], timeout=60) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors


def test_a_port_that_is_taken_is_said(dogbreed: Dogbreed, server: Server) -> None:
    error = dogbreed.json("local", "serve", "--port", str(server.server_address[1]), code=1)
    assert error["error"] == f"port {server.server_address[1]} cannot be had"
    assert "--port 0" in error["fix"]


def test_a_home_that_cannot_be_written_is_not_the_port_s_fault(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    command = [sys.executable, "-m", "dogbreed_cli", "local", "serve", "--port", "0"]
    if os.geteuid() == 0:  # who may write everywhere, as long as he has this
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere")
        command = ["setpriv", "--bounding-set", "-dac_override", *command]
    environment = clean_environment(DOGBREED_HOME=str(closed / "home"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"error: Permission denied: {closed / 'home'}\n" in done.stderr


def test_what_runs_goes_on_and_is_found_again(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\nprint('gone on')\n"
    with machine_in(tmp_path) as machine:
        name = "dogbreed-train-1"
        with serve(machine.home) as served:
            served.client("s3").create_bucket(Bucket="dogbreed-local")
            served.client("sagemaker").create_training_job(**machine.training(name, script))
            wait_for(lambda: machine.describe(name)["SecondaryStatus"] == "Training")
            assert served.end() == 0
        assert machine.processes()
        with serve(machine.home) as served:
            client = served.client("sagemaker")
            assert client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress"
            go.touch()
            wait_for(lambda: client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Completed")


# ---- who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8787"},
        {"Host": "localhost.evil.example"},
        {"Host": "169.254.169.254"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_pages_and_rebound_names_are_refused(server: Server, headers: dict[str, str]) -> None:
    status, answered, _ = send(server, "PUT", "/stranger", b"", **headers)
    assert (status, answered["connection"]) == (403, "close")
    assert send(server, "HEAD", "/stranger")[0] == 404
    assert "access-control-allow-origin" not in answered


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8787", "LOCALHOST", "[::1]:1", "s3.localhost:80"])
def test_our_own_names_are_not(server: Server, host: str) -> None:
    assert send(server, "GET", "/", Host=host)[0] != 403


def test_it_listens_on_this_machine_only(server: Server) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


# ---- HTTP


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


# ---- which operation


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_is_recognised(service: str) -> None:
    """As botocore sends it, signed for its service, or, where nothing else could be meant, not signed."""
    # The older of two names of one thing, and one that only S3's other host names tell apart.
    older = ("GetBucketLifecycle", "PutBucketLifecycle", "GetBucketNotification", "PutBucketNotification")
    same = {name: f"{name}Configuration" for name in older} | {"ListDirectoryBuckets": "ListBuckets"}
    routes, rng = Routes(SERVICES), random.Random(service)
    model = botocore.session.get_session().get_service_model(service)
    for name in model.operation_names:
        operation = model.operation_model(name)
        for scope in (f"Credential=k/20260101/us-east-1/{model.signing_name}/aws4_request, SignedHeaders=host", ""):
            given = draw(operation.input_shape, rng) if operation.input_shape else {}
            serializer = create_serializer(model.resolved_protocol, include_validation=False)
            for required in operation.input_shape.required_members if operation.input_shape else ():
                given.setdefault(required, draw(operation.input_shape.members[required], rng))
            if "RequestRoute" in given:  # a part of the host's name
                given["RequestRoute"] = "route"
            request = serializer.serialize_to_request(given, operation)
            request["context"] = {}
            prepare_request_dict(request, "http://127.0.0.1", {})
            sent = create_request_object(request).prepare()
            headers = {key.lower(): as_text(value) for key, value in sent.headers.items()}
            headers |= {"authorization": f"AWS4-HMAC-SHA256 {scope}", "host": "127.0.0.1"}
            target = re.sub("^http://[^/]*", "", sent.url)
            found = routes.find(sent.method, target, headers, sent.body).operation
            assert (found.service_model.service_name, found.name) == (service, same.get(name, name)), target


def as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        ("sagemaker", "list_apps", {}, "UnknownOperationException"),
        (
            "sagemaker-runtime",
            "invoke_endpoint_async",
            {"EndpointName": "x", "InputLocation": "y"},
            "UnknownOperationException",
        ),
        ("logs", "list_log_groups", {}, "UnknownOperationException"),
        ("s3", "list_object_versions", {"Bucket": "dogs"}, "NotImplemented"),
        ("iam", "list_roles", {}, "InvalidAction"),
        ("sts", "get_session_token", {}, "InvalidAction"),
        ("ec2", "describe_vpcs", {}, "InvalidAction"),
        ("service-quotas", "list_services", {}, "UnknownOperationException"),
        ("cloudwatch", "list_metrics", {}, "UnknownOperationException"),
        ("batch", "list_jobs", {}, "UnknownOperationException"),
    ],
)
def test_what_is_not_here_is_refused_in_its_clients_words(
    server: Server, service: str, operation: str, parameters: dict[str, Any], code: str
) -> None:
    client = open_client(server, service)
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**parameters)
    error = caught.value.response
    assert error["Error"]["Code"] == code
    assert error["Error"]["Message"].startswith("The local ")
    assert "does not implement" in error["Error"]["Message"]
    assert error["ResponseMetadata"]["RetryAttempts"] == 0


def open_client(server: Server, service: str, **config: Any) -> Any:
    session = boto3.Session("local", "local", region_name="us-east-1")
    return session.client(service, endpoint_url=server.url, config=Config(**config))


def test_rpc_v2_cbor_is_refused_in_cbor(server: Server) -> None:
    headers = {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
    status, answered, said = send(server, "POST", "/service/SageMaker/operation/ListModels", b"\xa0", **headers)
    assert (status, answered["content-type"]) == (404, "application/cbor")
    assert b"does not implement ListModels in the protocol rpc-v2-cbor" in said


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "said"),
    [
        ("POST", "/", b"{}", {"X-Amz-Target": "SageMaker.Records"}, 400, b"does not implement Records"),
        ("POST", "/", b"{}", {"X-Amz-Target": "nonsense"}, 400, b"UnknownOperationException"),
        ("POST", "/", b"{nonsense", {"X-Amz-Target": "SageMaker.ListModels"}, 400, b"SerializationException"),
        ("GET", "/?Action=GetCallerIdentity&Version=2011-06-15", None, {}, 200, b"<Account>000000000000</Account>"),
        ("GET", "/?Action=Nonsense&Version=2011-06-15", None, {}, 400, b"<Code>InvalidAction</Code>"),
        ("PATCH", "/dogs/x", b"", {}, 501, b"<Code>NotImplemented</Code>"),
        ("POST", "/dogs", b"", {}, 501, b"<Code>NotImplemented</Code>"),
        ("GET", "/dogs/%E0%80", None, {}, 404, b"<Code>NoSuchKey</Code>"),
        ("GET", "/UPPER/x", None, {}, 400, b"<Code>InvalidBucketName</Code>"),
        ("GET", "/dogs?list-type=2&max-keys=x", None, {}, 400, b"<Code>SerializationException</Code>"),
    ],
)
def test_clients_without_a_model_are_told(
    server: Server, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, said: bytes
) -> None:
    answered = send(server, method, path, body, **headers)
    assert (answered[0], said in answered[2]) == (status, True), answered


def test_a_bug_of_ours_is_a_500_and_a_traceback(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    class Buggy:
        def get_role(self, request: dict[str, Any]) -> None:
            raise ZeroDivisionError("our own bug")

    own, server.services["iam"] = server.services["iam"], Buggy()
    try:
        client = open_client(server, "iam", retries={"total_max_attempts": 1})
        with pytest.raises(ClientError) as caught:
            client.get_role(RoleName="dogbreed-local")
        assert caught.value.response["Error"]["Code"] == "InternalFailure"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert "our own bug" not in str(caught.value)
        server.services["iam"] = own
        assert client.get_role(RoleName="dogbreed-local")["Role"]["RoleName"] == "dogbreed-local"
    finally:
        server.services["iam"] = own
    assert "ZeroDivisionError: our own bug" in capfd.readouterr().err


# ---- boto3


def test_presigned_urls_are_plain_urls(server: Server) -> None:
    s3 = open_client(server, "s3", s3={"addressing_style": "path"})
    s3.put_object(Bucket="dogs", Key="a b/ü+%.txt", Body=b"signed", Metadata={"breed": "pug"})
    url = s3.generate_presigned_url("get_object", {"Bucket": "dogs", "Key": "a b/ü+%.txt"})
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert (answer.read(), answer.headers["x-amz-meta-breed"]) == (b"signed", "pug")


def test_many_at_once(server: Server) -> None:
    s3 = open_client(server, "s3", max_pool_connections=16)
    bodies = {f"many/{number:03}": bytes([number]) * 20_000 for number in range(64)}
    threads = [
        threading.Thread(target=lambda key=key, body=body: s3.put_object(Bucket="dogs", Key=key, Body=body))
        for key, body in bodies.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket="dogs", Prefix="many/", PaginationConfig={"PageSize": 10}
    )
    assert [item["Key"] for page in pages for item in page["Contents"]] == sorted(bodies)
    for key, body in bodies.items():
        assert s3.get_object(Bucket="dogs", Key=key)["Body"].read() == body


def test_it_ends_what_it_answers_before_it_ends(tmp_path: Path) -> None:
    server = Server(Home(tmp_path / "home"))
    asked = threading.Event()

    class Slow:
        def get_caller_identity(self, request: dict[str, Any]) -> dict[str, Any]:
            asked.set()
            time.sleep(0.5)
            return {"Account": "1"}

    server.services["sts"] = Slow()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    answers: list[Any] = []
    client = open_client(server, "sts")
    asking = threading.Thread(target=lambda: answers.append(client.get_caller_identity()["Account"]))
    asking.start()
    assert asked.wait(60)
    server.shutdown()
    server.finish(seconds=60)
    assert server.answering == 0
    asking.join(60)
    serving.join(60)
    assert answers == ["1"]


def test_served_reads_the_lines_of_v() -> None:
    served = Served(None, "", Home(Path()), ["sagemaker:ListModels 200\n", "warning: x\n", "s3:GetObject 404\n"])  # type: ignore[arg-type]
    assert served.calls == [("sagemaker:ListModels", 200), ("s3:GetObject", 404)]
    assert served.operations == {"sagemaker:ListModels", "s3:GetObject"}
