"""object_store.py against an S3 server (moto) over HTTP: obstore does what boto3 would, or boto3 does it."""

import hashlib
import os

import boto3
import pytest
from moto_server import count_requests

from dogbreed_cli import object_store, storage
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.sections import Aws

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


# ---- find_keys: what boto3 would find in the environment, or nothing

ALONE = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "eu-west-3"}


@pytest.fixture
def set_only(monkeypatch, tmp_path):
    def set_them(**environment: str) -> dict[str, str]:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": str(tmp_path), **environment}.items():
            monkeypatch.setenv(name, value)
        return dict(os.environ)

    return set_them


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"AWS_SESSION_TOKEN": "token"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_ENDPOINT_URL_S3": "https://s3.example"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000", "AWS_CA_BUNDLE": "/etc/ssl/own.pem"},
        {"AWS_CONFIG_FILE": "/nowhere", "AWS_REGION": "ap-south-1", "AWS_PAGER": ""},
    ],
)
def test_the_keys_are_those_that_boto3_finds(set_only, more: dict[str, str]) -> None:
    found = object_store.find_keys(set_only(**ALONE, **more), Aws())
    session = boto3.Session()
    keys = session.get_credentials().get_frozen_credentials()
    assert found == {
        "region": session.region_name,
        "endpoint": found["endpoint"],
        "access_key_id": keys.access_key,
        "secret_access_key": keys.secret_key,
        **({"session_token": keys.token} if keys.token else {}),
    }
    assert session.client("s3").meta.endpoint_url == (found["endpoint"] or "https://s3.eu-west-3.amazonaws.com")


@pytest.mark.parametrize(
    "more",
    [
        {"AWS_PROFILE": "work"},
        {"AWS_CA_BUNDLE": "/etc/ssl/own.pem"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_SOMETHING_NEW": "1"},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_DEFAULT_REGION": ""},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
    ],
)
def test_anything_else_is_for_boto3_to_understand(set_only, more: dict[str, str]) -> None:
    assert object_store.find_keys(set_only(**{**ALONE, **more}), Aws()) is None


def test_a_profile_is_for_boto3_to_find(set_only) -> None:
    assert object_store.find_keys(set_only(**ALONE), Aws()) is not None
    assert object_store.find_keys(set_only(**ALONE), Aws(profile="work")) is None


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_a_file_of_aws_s_is_for_boto3_to_read(set_only, tmp_path, name: str) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / name).write_text("[default]\nendpoint_url = http://127.0.0.1:9000\n")
    assert object_store.find_keys(set_only(**ALONE), Aws()) is None


def test_a_store_with_keys_alone_reads_and_writes(set_only, s3_endpoint, client, bucket) -> None:
    keys = object_store.find_keys(set_only(**ALONE, AWS_ENDPOINT_URL=s3_endpoint), Aws(region="us-east-1"))
    store = object_store.open_store(bucket, **keys)
    assert not object_store.put_bytes(None, store, BODY, bucket, "p/a.jpg", "image/jpeg").is_slowed
    assert object_store.list_folder(store, "p") == list(storage.list_objects(client, bucket, "p/"))
