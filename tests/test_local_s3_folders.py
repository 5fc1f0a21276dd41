"""The S3 on this machine: a large folder is listed without reading it again and again, and nothing is left for ever."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from local_s3_clients import fails, keys_of, make_client

from dogbreed_cli.local.s3 import S3


@pytest.fixture
def store(tmp_path: Path) -> S3:
    return S3(tmp_path / "s3")


@pytest.fixture
def local(store: S3) -> Any:
    client = make_client(store)
    client.create_bucket(Bucket="bucket")
    return client


def test_a_large_folder_is_read_once_for_all_its_pages(
    local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = fill(tmp_path / "s3/bucket/data", 3500), count_reads(monkeypatch)
    monkeypatch.setattr("dogbreed_cli.local.s3_names.SETTLED_NS", 20_000_000)
    time.sleep(0.1)
    for operation in ("list_objects_v2", "list_objects"):
        pages = list(local.get_paginator(operation).paginate(Bucket="bucket", Prefix="data/"))
        assert [key for page in pages for key in keys_of(page)] == [f"data/{number:05}" for number in range(3500)]
        assert len(pages) == 4
        assert read.pop(str(folder)) == 1, "and nothing is kept after the last page"


def test_what_comes_and_goes_between_two_pages(local: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = fill(tmp_path / "s3/bucket/data", 2500), count_reads(monkeypatch)
    for settled in (
        2_000_000_000,
        20_000_000,
    ):  # a folder that is not kept, as it was changed just now, and one that is
        monkeypatch.setattr("dogbreed_cli.local.s3_names.SETTLED_NS", settled)
        read.clear()
        time.sleep(0.1)
        pages = iter(local.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="data/"))
        assert keys_of(next(pages))[-1] == "data/00999"
        local.put_object(Bucket="bucket", Key="data/01234-more", Body=b"")
        local.put_object(Bucket="bucket", Key="data/01234/more", Body=b"")
        local.delete_object(Bucket="bucket", Key="data/01500")
        os.utime(folder, ns=(1, 1))  # as `rsync -a` sets it back, say
        found = [key for page in pages for key in keys_of(page)]
        assert found[234:238] == ["data/01234", "data/01234-more", "data/01234/more", "data/01235"]
        assert "data/01500" not in found
        assert len(found) == 1501
        for key in ("data/01234-more", "data/01234/more"):
            local.delete_object(Bucket="bucket", Key=key)
        local.put_object(Bucket="bucket", Key="data/01500", Body=b"")


def fill(folder: Path, number: int) -> Path:
    folder.mkdir()
    for name in range(number):
        (folder / f"{name:05}").touch()
    return folder


def count_reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each folder is read."""
    read: Counter[str] = Counter()
    scan = os.scandir
    monkeypatch.setattr("os.scandir", lambda path: read.update([str(path)]) or scan(path))
    return read


def test_what_was_left_half_written_a_week_ago_is_removed(
    local: Any, store: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = {"Bucket": "bucket", "Key": "large", "PartNumber": 1, "Body": b"x"}
    begun = local.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    half_written = tmp_path / "s3/.tmp/of-a-killed-process"
    half_written.write_bytes(b"half")
    os.utime(half_written, (0, 0))  # it may be moved in just now with its old time
    later = make_client(S3(store.store.folder))
    later.upload_part(UploadId=begun, **part)
    assert half_written.exists()
    monkeypatch.setattr("dogbreed_cli.local.s3.ABANDONED_SECONDS", -1)  # a week has passed
    much_later = make_client(S3(store.store.folder))
    much_later.put_object(Bucket="bucket", Key="small", Body=b"x")
    assert list((tmp_path / "s3/.tmp").iterdir()) == []
    fails("NoSuchUpload", 404, much_later.upload_part, UploadId=begun, **part)
    assert keys_of(much_later.list_objects_v2(Bucket="bucket")) == ["small"]
