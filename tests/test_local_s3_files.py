"""The S3 on this machine below its API: keys as files, files put there by hand, several processes, refusals."""

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from local_s3_clients import PATHS_IN_DISGUISE, fails, keys_of, make_client, serve_s3

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.s3 import S3
from dogbreed_cli.local.s3_names import encode_key


@pytest.fixture
def store(tmp_path: Path) -> S3:
    return S3(tmp_path / "s3")


@pytest.fixture
def local(store: S3) -> Any:
    """(client of our own S3)"""
    client = make_client(store)
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with serve_s3(tmp_path_factory.mktemp("served")) as client:
        yield client


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
    local.put_object(Bucket="bucket", Key="out/model.tar.gz", Body=b"MODEL")
    store.put_file("bucket", "out/model.tar.gz", source)
    assert not source.exists()
    head = local.head_object(Bucket="bucket", Key="out/model.tar.gz")
    assert head["ETag"] == f'"{hashlib.md5(b"model").hexdigest()}"'
    assert head["LastModified"] > datetime.now(UTC) - timedelta(minutes=1)
    source.write_bytes(b"model")
    with pytest.raises(AwsError, match="NoSuchBucket"):
        store.put_file("another", "k", source)
    assert source.exists()


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_put_file_takes_no_file_that_has_another_name(local: Any, store: S3, tmp_path: Path, link: Any) -> None:
    original, source = tmp_path / "original", tmp_path / "source"
    original.write_bytes(b"model")
    link(original, source)
    store.put_file("bucket", "model", source)
    assert not source.exists()
    original.write_bytes(b"written in place")
    assert local.get_object(Bucket="bucket", Key="model")["Body"].read() == b"model"


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
