"""Which operation a request to `dogbreed local serve` means, how what is not here is refused, and boto3's own ways."""

from __future__ import annotations

import random
import re
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.exceptions import ClientError
from botocore.serialize import create_serializer
from drawn_requests import SERVICES, draw
from local_server import open_client, send, serving

from dogbreed_cli.local.http_routes import Routes
from dogbreed_cli.local.http_server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


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


# ---- refusals


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
