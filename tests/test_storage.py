"""storage.py against an S3 server (moto) over HTTP: what is fetched, kept and deleted, and whose bucket it is."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import boto3
import pytest
from moto_server import list_keys, open_client

from dogbreed_cli import storage
from dogbreed_cli.errors import AccessError, DogbreedError, UsageError


def test_fetch_a_prefix_and_an_object(client, bucket, tmp_path):
    for key in ("job/output/model.tar.gz", "job/output/deep/er.txt", "job/outputs/no.txt"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode() * 1000)
    client.put_object(Bucket=bucket, Key="job/output/folder/", Body=b"")
    got = storage.fetch(client, f"s3://{bucket}/job/output", tmp_path / "to")
    assert [path.relative_to(tmp_path / "to").as_posix() for path in got] == ["deep/er.txt", "model.tar.gz"]
    assert got[0].read_bytes() == b"job/output/deep/er.txt" * 1000
    one = storage.fetch(client, f"s3://{bucket}/job/output/model.tar.gz", tmp_path / "one")
    assert one == (tmp_path / "one/model.tar.gz",) and list((tmp_path / "one").iterdir()) == list(one)
    with pytest.raises(DogbreedError):
        storage.fetch(client, f"s3://{bucket}/nothing", tmp_path / "none")
    assert not list((tmp_path / "none").glob("*"))


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "..\\escaped"])
def test_fetch_never_leaves_the_folder(client, bucket, tmp_path, name):
    # As the listing of a server may claim; no client puts such keys by itself.
    with pytest.raises(DogbreedError, match="outside"):
        storage._resolve_inside(tmp_path / "to", name)
    (tmp_path / "to").mkdir()
    (tmp_path / "to/link").symlink_to(tmp_path)
    client.put_object(Bucket=bucket, Key="p/link/escaped", Body=b"x")
    with pytest.raises(DogbreedError, match="outside"):
        storage.fetch(client, f"s3://{bucket}/p/", tmp_path / "to")
    assert not (tmp_path / "escaped").exists()


def test_put_file_and_json(client, bucket, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"m" * 9_000_000)  # more than one part
    uri = storage.put_file(client, tmp_path / "model.bin", bucket, "a/model.bin")
    assert uri == f"s3://{bucket}/a/model.bin"
    assert client.head_object(Bucket=bucket, Key="a/model.bin")["ContentLength"] == 9_000_000
    storage.put_json(client, {"a": [1]}, bucket, "a/b.json")
    assert storage.read_json(client, bucket, "a/b.json") == {"a": [1]}
    assert storage.read_json(client, bucket, "a/none.json") is None
    client.put_object(Bucket=bucket, Key="a/b.json", Body=b"{")
    with pytest.raises(DogbreedError, match="no JSON"):
        storage.read_json(client, bucket, "a/b.json")


def test_delete_prefix(client, bucket, requests, monkeypatch):
    monkeypatch.setattr(storage, "DELETE_BATCH", 10)
    for key in [*(f"data/{n}" for n in range(25)), "data2/kept"]:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    requests.clear()
    assert storage.delete_prefix(client, bucket, "data") == 25
    assert requests["DeleteObjects"] == 3 and list(list_keys(client, bucket)) == ["data2/kept"]
    assert storage.delete_prefix(client, bucket, "data") == 0
    with pytest.raises(UsageError):
        storage.delete_prefix(client, bucket, "/")


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_ensure_bucket(s3_endpoint, region):
    client = open_client(s3_endpoint, region)
    name = f"made-{uuid4().hex}"
    assert storage.ensure_bucket(client, name, region) is True
    assert storage.ensure_bucket(client, name, region) is False
    with pytest.raises(UsageError, match=f"is in {region}"):
        storage.ensure_bucket(client, name, "ap-southeast-2")


class Refusing(BaseHTTPRequestHandler):
    """An S3 that lets nobody in; moto lets everybody in."""

    def do_HEAD(self):
        self.send_response(403)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_bucket_of_someone_else():
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        stranger = open_client(f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(AccessError, match="refused") as caught:
            storage.ensure_bucket(stranger, "not-mine", "us-east-1")
        server.shutdown()
    assert caught.value.exit_code == 4 and caught.value.fix and caught.value.__cause__


def test_no_credentials(s3_endpoint, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.session.Session().client("s3", "us-east-1", endpoint_url=s3_endpoint)
    with pytest.raises(AccessError, match="credentials"):
        storage.read_json(client, "any", "key")


def test_addresses():
    assert storage.parse_s3_uri("s3://b/some/key") == ("b", "some/key")
    assert storage.parse_s3_uri("s3://b") == ("b", "")
    assert storage.make_s3_uri("b", "/dogs/", "data", "") == "s3://b/dogs/data"
    for wrong in ("b/key", "https://b/key", "s3:///key"):
        with pytest.raises(UsageError):
            storage.parse_s3_uri(wrong)
