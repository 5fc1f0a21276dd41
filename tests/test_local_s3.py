"""What S3 does, of the S3 on this machine, and of moto over HTTP as well, so that a peer checks us."""

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from local_s3_clients import PATH_STYLE, WEIRD_KEYS, fails, keys_of, make_client, serve_s3
from moto_server import serve_moto

from dogbreed_cli.local.s3 import S3


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    """(client of moto's S3)"""
    session = boto3.Session("testing", "testing", region_name="us-east-1")
    with serve_moto() as url:
        yield session.client("s3", config=PATH_STYLE, endpoint_url=url)


@pytest.fixture
def store(tmp_path: Path) -> S3:
    return S3(tmp_path / "s3")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve_s3(tmp_path_factory.mktemp("served")) as client:
        yield client


@pytest.fixture(params=["local", "served", "moto"])
def s3(request: pytest.FixtureRequest, store: S3) -> Any:
    return make_client(store) if request.param == "local" else request.getfixturevalue(request.param)


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def is_ours(s3: Any) -> bool:
    return bool(s3.list_buckets()["Owner"]["DisplayName"] == "local")


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
