"""object_store.py against an S3 server (moto) over HTTP: obstore does what boto3 would, or boto3 does it."""

import hashlib

import boto3
import pytest
from moto_server import count_requests

from dogbreed_cli import object_store, storage
from dogbreed_cli.errors import DogbreedError

# ---- put_bytes: an object that obstore wrote is the one that boto3 would have, and boto3 steps in

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


def open_store(endpoint: str, bucket: str):
    boto = boto3.Session("test", "test", region_name="us-east-1")
    return object_store.open_store_of_session(bucket, boto.client("s3", endpoint_url=endpoint), boto)


@pytest.mark.parametrize("key", KEYS)
def test_any_key_is_written_as_it_is(client, s3_endpoint, bucket, key: str) -> None:
    put = object_store.put_bytes(client, open_store(s3_endpoint, bucket), BODY, bucket, key, "image/jpeg")
    assert put.etag == hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    answer = client.get_object(Bucket=bucket, Key=key)
    assert (answer["Body"].read(), answer["ContentType"]) == (BODY, "image/jpeg")


def test_obstore_is_what_sends(client, s3_endpoint, bucket) -> None:
    requests = count_requests(client)
    put = object_store.put_bytes(client, open_store(s3_endpoint, bucket), BODY, bucket, "a.jpg", "image/jpeg")
    assert not requests and not put.is_slowed


def test_boto3_sends_what_obstore_does_not_get_through(client, bucket) -> None:
    put = object_store.put_bytes(client, open_store("http://127.0.0.1:9", bucket), BODY, bucket, "a.jpg", "image/jpeg")
    assert put.is_slowed
    assert client.get_object(Bucket=bucket, Key="a.jpg")["Body"].read() == BODY


def test_a_refusal_has_the_service_s_words(client, s3_endpoint) -> None:
    with pytest.raises(DogbreedError, match=r"NoSuchBucket|does not exist"), storage.explain_s3_errors("Sending a.jpg"):
        object_store.put_bytes(
            client, open_store(s3_endpoint, "nobodys-bucket"), BODY, "nobodys-bucket", "a.jpg", "image/jpeg"
        )


# ---- list_folder: what obstore lists is what boto3 would, or it says that it cannot


@pytest.mark.parametrize("odd", ["", "p/train/", "p/train/dog/", "p/train/a//b.jpg", "p/train/empty.jpg"])
def test_a_folder_is_listed_as_it_is(client, s3_endpoint, bucket, odd: str) -> None:
    for key in ("p/train/b c.jpg", "p/train/dog/\u00e9%20#.jpg", "p/trainer/no.jpg", "p/train"):
        client.put_object(Bucket=bucket, Key=key, Body=b"a dog")
    if odd:
        client.put_object(Bucket=bucket, Key=odd, Body=b"" if odd.endswith(("/", "empty.jpg")) else b"a dog")
    found = object_store.list_folder(open_store(s3_endpoint, bucket), "p/train")
    if odd:
        assert found is None
    else:
        assert sorted(found or ()) == list(storage.list_objects(client, bucket, "p/train/"))


def test_what_is_not_there(s3_endpoint, bucket) -> None:
    assert object_store.list_folder(open_store(s3_endpoint, bucket), "nothing") == []
    assert object_store.list_folder(open_store(s3_endpoint, "nobodys-bucket"), "p") is None
