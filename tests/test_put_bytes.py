"""storage.put_bytes over HTTP: an object that obstore wrote is the one that boto3 would have, and boto3 steps in."""

import hashlib
from collections.abc import Iterator
from uuid import uuid4

import pytest
from moto_server import count_requests, open_client, serve_moto
from obstore.store import S3Store

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.storage import explain_s3_errors, put_bytes

BODY = b"a dog" * 4000
KEYS = [
    "a/b c.jpg",
    "a/\u00e9\u72ac.jpg",
    "a/x#1?%.jpg",
    "a/[{~}]'\"\\.jpg",
    "a/*+&=;:,@!$().jpg",
    "a//b.jpg",
    "a/../b.jpg",
]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serve_moto() as url:
        yield url


@pytest.fixture
def client(endpoint: str):
    return open_client(endpoint)


@pytest.fixture
def bucket(client) -> str:
    name = f"dogs-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    return name


def open_store(endpoint: str, bucket: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="test",
        secret_access_key="test",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_written_as_it_is(client, endpoint: str, bucket: str, key: str) -> None:
    put = put_bytes(client, open_store(endpoint, bucket), BODY, bucket, key, "image/jpeg")
    assert put.etag == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    answer = client.get_object(Bucket=bucket, Key=key)
    assert (answer["Body"].read(), answer["ContentType"]) == (BODY, "image/jpeg")


def test_obstore_is_what_sends(client, endpoint: str, bucket: str) -> None:
    requests = count_requests(client)
    put = put_bytes(client, open_store(endpoint, bucket), BODY, bucket, "a.jpg", "image/jpeg")
    assert not requests and not put.is_slowed


def test_boto3_sends_what_obstore_does_not_get_through(client, bucket: str) -> None:
    put = put_bytes(client, open_store("http://127.0.0.1:9", bucket), BODY, bucket, "a.jpg", "image/jpeg")
    assert put.is_slowed
    assert client.get_object(Bucket=bucket, Key="a.jpg")["Body"].read() == BODY


def test_a_refusal_has_the_service_s_words(client, endpoint: str) -> None:
    with pytest.raises(DogbreedError, match=r"NoSuchBucket|does not exist"), explain_s3_errors("Sending a.jpg"):
        put_bytes(client, open_store(endpoint, "nobodys-bucket"), BODY, "nobodys-bucket", "a.jpg", "image/jpeg")
