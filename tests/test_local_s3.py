"""The S3 on this machine. What S3 does is asserted against moto over HTTP as well, so that a peer checks us."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from dogbreed_cli.local import Home, wire
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.http_server import Server
from dogbreed_cli.local.s3 import S3
from dogbreed_cli.local.s3_names import encode_key

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


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    """(client of moto's S3)"""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    yield session.client("s3", config=PATH_STYLE, endpoint_url=f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> S3:
    return S3(tmp_path / "s3")


def make_client(store: S3, config: Config = PATH_STYLE) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", MODELS)
    session.set_credentials("testing", "testing")
    wire.register(session, {"s3": store})
    return boto3.Session(botocore_session=session, region_name="us-east-1").client("s3", config=config)


@pytest.fixture
def local(store: S3) -> Any:
    """(client of our own S3)"""
    client = make_client(store)
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """(client of our own S3 over HTTP)"""
    server = Server(Home(tmp_path_factory.mktemp("served")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    session = boto3.Session("local", "local", region_name="us-east-1")
    yield session.client("s3", config=PATH_STYLE, endpoint_url=server.url)
    server.shutdown()
    thread.join()
    server.finish(seconds=5)


@pytest.fixture(params=["local", "served", "moto"])
def s3(request: pytest.FixtureRequest, store: S3) -> Any:
    return make_client(store) if request.param == "local" else request.getfixturevalue(request.param)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def fails(code: str, status: int, call: Any, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return caught.value.response


def is_ours(s3: Any) -> bool:
    return bool(s3.list_buckets()["Owner"]["DisplayName"] == "local")


def keys_of(response: dict[str, Any]) -> list[str]:
    return [item["Key"] for item in response.get("Contents", [])]


# What S3 does: both


def test_an_object_comes_back_with_all_that_was_said_of_it(s3: Any, bucket: str) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    metadata = {"breed": "poodle", "split": "train"}
    put = s3.put_object(
        Bucket=bucket,
        Key="a/b.jpg",
        Body=b"bytes",
        ContentType="image/jpeg",
        CacheControl="no-cache",
        Metadata=metadata,
    )
    assert put["ETag"] == f'"{hashlib.md5(b"bytes").hexdigest()}"'
    head = s3.head_object(Bucket=bucket, Key="a/b.jpg")
    got = s3.get_object(Bucket=bucket, Key="a/b.jpg")
    assert got["Body"].read() == b"bytes"
    for response in (head, got):
        assert response["ETag"] == put["ETag"]
        assert response["ContentLength"] == 5
        assert response["ContentType"] == "image/jpeg"
        assert response["CacheControl"] == "no-cache"
        assert response["Metadata"] == metadata
        assert before <= response["LastModified"] <= datetime.now(UTC)
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
    s3.put_object(Bucket=bucket, Key="a/b.jpg", Body=b"")
    assert s3.get_object(Bucket=bucket, Key="a/b.jpg")["Body"].read() == b""
    assert s3.head_object(Bucket=bucket, Key="a/b.jpg")["ContentType"] == "binary/octet-stream"


@pytest.mark.parametrize("key", WEIRD_KEYS, ids=range(len(WEIRD_KEYS)))
def test_any_key_can_be_put_found_and_deleted(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == key.encode()
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "copy"}]})
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == []
    s3.delete_bucket(Bucket=bucket)


def test_ranges(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    for text, expected, content_range in [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=0-", b"0123456789", "bytes 0-9/10"),
    ]:
        got = s3.get_object(Bucket=bucket, Key="k", Range=text)
        assert got["Body"].read() == expected
        assert got["ContentRange"] == content_range
        assert got["ContentLength"] == len(expected)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    fails("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="k", Range="bytes=10-")


def test_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    here = {"Bucket": bucket, "Key": "k"}
    assert s3.get_object(**here, IfMatch=etag)["Body"].read() == b"x"
    fails("PreconditionFailed", 412, s3.get_object, **here, IfMatch='"other"')
    fails("304", 304, s3.get_object, **here, IfNoneMatch=etag)
    fails("304", 304, s3.head_object, **here, IfNoneMatch=etag)
    fails("412", 412, s3.head_object, **here, IfMatch='"other"')
    hour = timedelta(hours=1)
    fails("304", 304, s3.get_object, **here, IfModifiedSince=datetime.now(UTC) + hour)
    fails("PreconditionFailed", 412, s3.get_object, **here, IfUnmodifiedSince=datetime.now(UTC) - hour)
    fails("PreconditionFailed", 412, s3.put_object, **here, Body=b"y", IfNoneMatch="*")
    s3.put_object(Bucket=bucket, Key="new", Body=b"y", IfNoneMatch="*")


def test_what_is_not_there(s3: Any, bucket: str) -> None:
    for call in (s3.get_object, s3.head_object, s3.delete_object):
        code = "404" if call == s3.head_object else "NoSuchBucket"
        fails(code, 404, call, Bucket="bucket-nobody-made", Key="k")
    fails("NoSuchBucket", 404, s3.put_object, Bucket="bucket-nobody-made", Key="k", Body=b"")
    fails("NoSuchBucket", 404, s3.list_objects_v2, Bucket="bucket-nobody-made")
    fails("404", 404, s3.head_bucket, Bucket="bucket-nobody-made")
    fails("NoSuchBucket", 404, s3.delete_bucket, Bucket="bucket-nobody-made")
    error = fails("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="missing")
    assert error["Error"]["Key"] == "missing"
    fails("404", 404, s3.head_object, Bucket=bucket, Key="missing")
    fails("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="x", CopySource=f"{bucket}/missing")
    assert s3.delete_object(Bucket=bucket, Key="missing")["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key="missing")


def test_buckets(s3: Any, bucket: str) -> None:
    assert bucket in [found["Name"] for found in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    s3.create_bucket(Bucket=bucket)  # in us-east-1 this is no error
    west = {"LocationConstraint": "eu-west-1"}
    name = f"{bucket}-eu"
    if is_ours(s3):  # moto asks eu-west-1's own endpoint for that
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=west)
        assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-west-1"
        fails("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=name, CreateBucketConfiguration=west)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    fails("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    fails("404", 404, s3.head_bucket, Bucket=bucket)


def test_keys_come_in_the_order_of_their_bytes(s3: Any, bucket: str) -> None:
    # '!' and '-' sort before '/', '0' after it; 'Z' before 'a'; U+FFFD before an emoji, though not in UTF-16.
    keys = ["a", "a/b", "a/b/c", "a!b", "a-b", "a0", "Z", "a/B", "a.b/c", "b/�", "b/🐕", "b/é", "ab"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    in_order = sorted(keys, key=str.encode)
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == in_order
    assert keys_of(s3.list_objects(Bucket=bucket)) == in_order
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
        after = [other for other in in_order if other.encode() > key.encode()]
        assert keys_of(s3.list_objects_v2(Bucket=bucket, StartAfter=key)) == after
        below = [other for other in in_order if other.startswith(key)]
        assert keys_of(s3.list_objects_v2(Bucket=bucket, Prefix=key)) == below
    assert keys_of(s3.list_objects_v2(Bucket=bucket, Prefix="nothing/")) == []


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects"])
def test_pages_and_common_prefixes(s3: Any, bucket: str, operation: str) -> None:
    keys = [f"data/{split}/{number:02}.jpg" for split in ("test", "train", "valid") for number in range(5)]
    for key in [*keys, "data/manifest.json", "other"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 3)
    paginator = s3.get_paginator(operation)
    pages = list(paginator.paginate(Bucket=bucket, Prefix="data/", PaginationConfig={"PageSize": 4}))
    assert [key for page in pages for key in keys_of(page)] == ["data/manifest.json", *keys]
    assert [len(keys_of(page)) for page in pages] == [4, 4, 4, 4]
    assert all(item["Size"] == 3 and item["ETag"] for page in pages for item in page["Contents"])
    for size in (1, 2, 1000):
        pages = list(
            paginator.paginate(Bucket=bucket, Prefix="data/", Delimiter="/", PaginationConfig={"PageSize": size})
        )
        assert [key for page in pages for key in keys_of(page)] == ["data/manifest.json"]
        prefixes = [common["Prefix"] for page in pages for common in page.get("CommonPrefixes", [])]
        assert prefixes == ["data/test/", "data/train/", "data/valid/"]
    page = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert (page["KeyCount"], page["IsTruncated"], page["MaxKeys"]) == (2, False, 1000)
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0


def test_delete_objects(s3: Any, bucket: str) -> None:
    for key in ("a", "b", "c/d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    response = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "missing"}]})
    assert sorted(item["Key"] for item in response["Deleted"]) == ["a", "missing"]
    response = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "c/d"}], "Quiet": True})
    assert "Errors" not in response
    if is_ours(s3):  # moto is never quiet
        assert "Deleted" not in response
    assert keys_of(s3.list_objects_v2(Bucket=bucket)) == ["b"]


def test_copies(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="from", Body=b"x", ContentType="image/png", Metadata={"a": "1"})
    source = {"Bucket": bucket, "Key": "from"}
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    head = s3.head_object(Bucket=bucket, Key="to")
    assert copied["CopyObjectResult"]["ETag"] == head["ETag"]
    assert (head["ContentType"], head["Metadata"]) == ("image/png", {"a": "1"})
    new = {"ContentType": "text/plain", "Metadata": {"b": "2"}, "MetadataDirective": "REPLACE"}
    s3.copy_object(Bucket=bucket, Key="from", CopySource=source, **new)
    head = s3.head_object(Bucket=bucket, Key="from")
    assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"b": "2"})
    fails("InvalidRequest", 400, s3.copy_object, Bucket=bucket, Key="from", CopySource=source)


def test_multipart(s3: Any, bucket: str) -> None:
    here = {"Bucket": bucket, "Key": "big/file"}
    five, small = os.urandom(5 << 20), b"the rest"
    upload = s3.create_multipart_upload(**here, ContentType="image/png", Metadata={"k": "v"})["UploadId"]
    here_too = {**here, "UploadId": upload}
    parts = []
    for number, data in ((1, five), (2, b"replaced"), (2, small)):
        etag = s3.upload_part(**here_too, PartNumber=number, Body=data)["ETag"]
        assert etag == f'"{hashlib.md5(data).hexdigest()}"'
        parts.append({"PartNumber": number, "ETag": etag})
    listed = s3.list_parts(**here_too)["Parts"]
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in listed] == [
        (1, len(five), parts[0]["ETag"]),
        (2, len(small), parts[2]["ETag"]),
    ]
    fails("404", 404, s3.head_object, **here)
    wrong = [parts[0], {"PartNumber": 2, "ETag": '"0123"'}]
    fails("InvalidPart", 400, s3.complete_multipart_upload, **here_too, MultipartUpload={"Parts": wrong})
    chosen = {"Parts": [parts[0], parts[2]]}
    digest = hashlib.md5(hashlib.md5(five).digest() + hashlib.md5(small).digest()).hexdigest()
    assert s3.complete_multipart_upload(**here_too, MultipartUpload=chosen)["ETag"] == f'"{digest}-2"'
    got = s3.get_object(**here)
    assert got["Body"].read() == five + small
    assert (got["ETag"], got["ContentType"], got["Metadata"]) == (f'"{digest}-2"', "image/png", {"k": "v"})
    upload = s3.create_multipart_upload(**here)["UploadId"]
    small_etag = s3.upload_part(**here, UploadId=upload, PartNumber=1, Body=b"a")["ETag"]
    s3.upload_part(**here, UploadId=upload, PartNumber=2, Body=b"a")
    too_small = {"Parts": [{"PartNumber": number, "ETag": small_etag} for number in (1, 2)]}
    fails("EntityTooSmall", 400, s3.complete_multipart_upload, **here, UploadId=upload, MultipartUpload=too_small)
    s3.abort_multipart_upload(**here, UploadId=upload)
    fails("NoSuchUpload", 404, s3.list_parts, **here, UploadId=upload)
    fails("NoSuchUpload", 404, s3.abort_multipart_upload, **here, UploadId="never-was")


def test_parts_may_be_copied(s3: Any, bucket: str) -> None:
    data = os.urandom(6 << 20)
    etag = s3.put_object(Bucket=bucket, Key="from", Body=data)["ETag"]
    here = {"Bucket": bucket, "Key": "to"}
    here_too = {**here, "UploadId": s3.create_multipart_upload(**here)["UploadId"]}
    source = {"CopySource": {"Bucket": bucket, "Key": "from"}, "CopySourceIfMatch": etag}
    parts = []
    for number, bounds in ((1, f"bytes=0-{(5 << 20) - 1}"), (2, f"bytes={5 << 20}-{len(data) - 1}")):
        copied = s3.upload_part_copy(**here_too, **source, PartNumber=number, CopySourceRange=bounds)
        parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(**here_too, MultipartUpload={"Parts": parts})
    assert s3.get_object(**here)["Body"].read() == data
    assert s3.get_object_tagging(**here)["TagSet"] == []
    fails("NoSuchKey", 404, s3.get_object_tagging, Bucket=bucket, Key="nothing")


def test_files_are_transferred_in_parts(s3: Any, bucket: str, tmp_path: Path) -> None:
    data = os.urandom(17 << 20)
    (tmp_path / "from").write_bytes(data)
    seen: list[int] = []
    s3.upload_file(str(tmp_path / "from"), bucket, "model.tar.gz", Callback=seen.append)
    assert sum(seen) == len(data)
    assert s3.head_object(Bucket=bucket, Key="model.tar.gz")["ETag"].endswith('-3"')
    s3.download_file(bucket, "model.tar.gz", str(tmp_path / "to"), Config=TransferConfig(multipart_threshold=1 << 20))
    assert (tmp_path / "to").read_bytes() == data
    s3.upload_fileobj(io.BytesIO(b"small"), bucket, "small")
    target = io.BytesIO()
    s3.download_fileobj(bucket, "small", target)
    assert target.getvalue() == b"small"


# What is ours


@pytest.mark.parametrize("key", PATHS_IN_DISGUISE)
def test_no_key_leaves_its_folder(local: Any, store: S3, tmp_path: Path, key: str) -> None:
    local.put_object(Bucket="bucket", Key=key, Body=b"inside")
    assert local.get_object(Bucket="bucket", Key=key)["Body"].read() == b"inside"
    assert keys_of(local.list_objects_v2(Bucket="bucket")) == [key]
    path = store.path("bucket", key)
    assert path.is_file()
    assert ".." not in path.parts
    assert (tmp_path / "s3" / "bucket") in path.parents
    assert [p.name for p in tmp_path.iterdir()] == ["s3"]
    local.delete_object(Bucket="bucket", Key=key)
    local.delete_bucket(Bucket="bucket")


@pytest.mark.parametrize("key", PATHS_IN_DISGUISE)
def test_no_key_is_lost_on_its_way(served: Any, key: str) -> None:
    served.create_bucket(Bucket="disguised")
    served.put_object(Bucket="disguised", Key=key, Body=b"inside")
    assert served.get_object(Bucket="disguised", Key=key)["Body"].read() == b"inside"
    assert keys_of(served.list_objects_v2(Bucket="disguised")) == [key]
    served.delete_objects(Bucket="disguised", Delete={"Objects": [{"Key": key}]})
    served.delete_bucket(Bucket="disguised")


def test_names_are_reversible(store: S3, local: Any) -> None:
    pieces = [
        "a",
        "%",
        "%4",
        "%41",
        "%25",
        "%FF",
        "%FE",
        "%FD",
        "",
        ".",
        "..",
        "x" * 300,
        "é" * 200,
        "A",
        "\0",
        "þ",
        "ÿ",
    ]
    keys = {f"{a}{separator}{b}" for a in pieces for b in pieces for separator in ("", "/", "%")} - {""}
    assert len({encode_key(key) for key in keys}) == len(keys)
    for key in keys:
        if len(key.encode()) <= 1024:
            store.put_object({"Bucket": "bucket", "Key": key, "Body": io.BytesIO(key.encode())})
    found = list(store.keys("bucket"))
    wanted = sorted((key for key in keys if len(key.encode()) <= 1024), key=str.encode)
    assert [key for key, _ in found] == wanted
    assert all(path.read_bytes() == key.encode() for key, path in found)
    for key in wanted:
        store.delete_object({"Bucket": "bucket", "Key": key})
    local.delete_bucket(Bucket="bucket")


def test_objects_are_plain_files(local: Any, store: S3, tmp_path: Path) -> None:
    local.put_object(Bucket="bucket", Key="data/train/Poodle/Poodle 1.jpg", Body=b"woof")
    path = tmp_path / "s3/bucket/data/train/Poodle/Poodle 1.jpg"
    assert path.read_bytes() == b"woof"
    assert store.path("bucket", "data/train/Poodle/Poodle 1.jpg") == path
    assert list(store.keys("bucket", "data/")) == [("data/train/Poodle/Poodle 1.jpg", path)]
    local.delete_object(Bucket="bucket", Key="data/train/Poodle/Poodle 1.jpg")
    assert list((tmp_path / "s3/bucket").iterdir()) == []  # empty folders went too
    assert list((tmp_path / "s3/.meta/bucket").rglob("*")) == []
    assert list((tmp_path / "s3/.tmp").iterdir()) == []


def test_a_linked_file_keeps_its_bytes(local: Any, store: S3, tmp_path: Path) -> None:
    local.put_object(Bucket="bucket", Key="k", Body=b"old")
    os.link(store.path("bucket", "k"), tmp_path / "link")
    open_body = local.get_object(Bucket="bucket", Key="k")["Body"]
    local.put_object(Bucket="bucket", Key="k", Body=b"newer")
    assert (tmp_path / "link").read_bytes() == b"old"
    assert open_body.read() == b"old"
    assert local.get_object(Bucket="bucket", Key="k")["Body"].read() == b"newer"


def test_files_put_there_by_hand(local: Any, tmp_path: Path) -> None:
    folder = tmp_path / "s3/bucket/by hand"
    folder.mkdir()
    (folder / "100% dog.jpg").write_bytes(b"woof")
    head = local.head_object(Bucket="bucket", Key="by hand/100% dog.jpg")
    assert head["ETag"] == f'"{hashlib.md5(b"woof").hexdigest()}"'
    assert (tmp_path / "s3/.meta/bucket/by hand").is_dir()  # remembered
    local.put_object(Bucket="bucket", Key="k", Body=b"old", ContentType="image/jpeg", Metadata={"a": "b"})
    (tmp_path / "s3/bucket/k").write_bytes(b"edited")
    got = local.get_object(Bucket="bucket", Key="k")
    assert (got["Body"].read(), got["ETag"]) == (b"edited", f'"{hashlib.md5(b"edited").hexdigest()}"')
    assert got["Metadata"] == {}
    os.truncate(tmp_path / "s3/bucket/k", 2)
    listed = {item["Key"]: item for item in local.list_objects_v2(Bucket="bucket")["Contents"]}
    assert listed["k"]["ETag"] == f'"{hashlib.md5(b"ed").hexdigest()}"'
    (tmp_path / "s3/new-bucket").mkdir()
    assert [bucket["Name"] for bucket in local.list_buckets()["Buckets"]] == ["bucket", "new-bucket"]


def test_an_object_beside_a_folder_of_its_name(local: Any, store: S3) -> None:
    for first, second in (("a", "a/b"), ("c/d", "c")):
        for key in (first, second):
            local.put_object(Bucket="bucket", Key=key, Body=key.encode(), Metadata={"key": key})
    for key in ("a", "a/b", "c", "c/d"):
        got = local.get_object(Bucket="bucket", Key=key)
        assert (got["Body"].read(), got["Metadata"]) == (key.encode(), {"key": key})
        assert store.path("bucket", key).read_bytes() == key.encode()
    local.delete_object(Bucket="bucket", Key="a/b")
    local.put_object(Bucket="bucket", Key="a", Body=b"again")
    assert local.get_object(Bucket="bucket", Key="a")["Body"].read() == b"again"
    assert keys_of(local.list_objects_v2(Bucket="bucket")) == ["a", "c", "c/d"]
    local.delete_object(Bucket="bucket", Key="a")
    assert keys_of(local.list_objects_v2(Bucket="bucket")) == ["c", "c/d"]


def test_put_file_moves_a_file_in(local: Any, store: S3, tmp_path: Path) -> None:
    source = tmp_path / "model.tar.gz"
    source.write_bytes(b"model")
    os.utime(source, (0, 0))
    etag = store.put_file("bucket", "out/model.tar.gz", source)
    assert not source.exists()
    head = local.head_object(Bucket="bucket", Key="out/model.tar.gz")
    assert head["ETag"] == etag == f'"{hashlib.md5(b"model").hexdigest()}"'
    assert head["LastModified"] > datetime.now(UTC) - timedelta(minutes=1)
    source.write_bytes(b"model")
    with pytest.raises(AwsError, match="NoSuchBucket"):
        store.put_file("another", "k", source)
    assert source.exists()


PUTTER = """
import io, json, sys
from pathlib import Path
from dogbreed_cli.local.s3 import S3
name = sys.argv[2]
store = S3(Path(sys.argv[1]))
for number in range(200):
    body = (name * (number + 1)).encode()
    metadata = {"size": str(len(body)), "by": name}
    key = "a" if number % 2 else "shared/key"
    store.put_object({"Bucket": "bucket", "Key": key, "Body": io.BytesIO(body), "Metadata": metadata})
    if number % 5 == 0:
        store.delete_object({"Bucket": "bucket", "Key": "shared/key"})
        store.put_object({"Bucket": "bucket", "Key": "a/b", "Body": io.BytesIO(b"")})
    if number % 7 == 0:
        store.delete_object({"Bucket": "bucket", "Key": "a/b"})
assert "botocore" not in sys.modules
"""


def test_two_processes_put_the_same_key(local: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PUTTER, str(tmp_path / "s3")]
    putters = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in ("x", "y")]
    reads = 0
    while any(putter.poll() is None for putter in putters) or reads == 0:
        for key in ("a", "shared/key"):
            try:
                got = local.get_object(Bucket="bucket", Key=key)
            except local.exceptions.NoSuchKey:
                continue
            body = got["Body"].read().decode()
            assert got["Metadata"] == {"size": str(len(body)), "by": body[0]}
            assert got["ETag"] == f'"{hashlib.md5(body.encode()).hexdigest()}"'
            reads += 1
        local.list_objects_v2(Bucket="bucket")
    for putter in putters:
        assert putter.communicate()[1] == b""
        assert putter.returncode == 0
    assert list((tmp_path / "s3/.tmp").iterdir()) == []


def test_what_is_not_implemented_is_refused(local: Any, tmp_path: Path) -> None:
    error = fails(
        "NotImplemented", 501, local.put_object, Bucket="bucket", Key="k", Body=b"", ServerSideEncryption="aws:kms"
    )
    assert "ServerSideEncryption" in error["Error"]["Message"]
    fails("NotImplemented", 501, local.get_object, Bucket="bucket", Key="k", VersionId="1")
    error = fails("NotImplemented", 501, local.get_bucket_acl, Bucket="bucket")
    assert "GetBucketAcl" in error["Error"]["Message"]
    fails("KeyTooLongError", 400, local.put_object, Bucket="bucket", Key="k" * 1025, Body=b"")
    for name in ("..", "Not_A_Bucket", "a..b", "127.0.0.1", "ab"):
        fails("InvalidBucketName", 400, local.create_bucket, Bucket=name)
    fails("InvalidBucketName", 400, local.list_objects_v2, Bucket="..")
    fails("InvalidBucketName", 400, local.list_objects_v2, Bucket=".meta")
    fails("NoSuchUpload", 404, local.list_parts, Bucket="bucket", Key="k", UploadId="../bucket")
    fails("InvalidArgument", 400, local.list_objects_v2, Bucket="bucket", ContinuationToken="?")
    assert list((tmp_path / "s3/.tmp").glob("*")) == []


def test_a_wrong_md5_is_refused(local: Any) -> None:
    wrong = "AAAAAAAAAAAAAAAAAAAAAA=="
    fails("BadDigest", 400, local.put_object, Bucket="bucket", Key="k", Body=b"x", ContentMD5=wrong)
    assert keys_of(local.list_objects_v2(Bucket="bucket")) == []


def test_virtual_hosted_addresses_work_too(store: S3, local: Any) -> None:
    client = make_client(store, Config(s3={"addressing_style": "virtual"}))
    client.create_bucket(Bucket="my.bucket")
    client.put_object(Bucket="my.bucket", Key="a/b c", Body=b"x")
    assert keys_of(client.list_objects_v2(Bucket="my.bucket")) == ["a/b c"]
    assert json.dumps(keys_of(local.list_objects_v2(Bucket="my.bucket"))) == '["a/b c"]'


def test_pages_go_on_between_folders(local: Any) -> None:
    for number in range(200):
        local.put_object(Bucket="bucket", Key=f"data/{number % 10}/{number:05}.jpg", Body=b"x" * 1000)
    pages = list(local.get_paginator("list_objects_v2").paginate(Bucket="bucket", PaginationConfig={"PageSize": 30}))
    found = [key for page in pages for key in keys_of(page)]
    assert found == sorted(f"data/{number % 10}/{number:05}.jpg" for number in range(200))
