"""source.py: the same code packs to the same bytes; an archive of anybody unpacks to files in its folder."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.source import find_entrypoints, pack, unpack, upload_source


@pytest.fixture
def code(tmp_path) -> Path:
    folder = tmp_path / "code"
    (folder / "deep").mkdir(parents=True)
    (folder / "train.py").write_text("print('wuff')\n")
    (folder / "deep/run.sh").write_text("#!/bin/sh\n")
    (folder / "deep/run.sh").chmod(0o700)
    (folder / "requirements.txt").touch()
    return folder


@pytest.fixture(scope="session")
def s3_endpoint():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def write_tar(path: Path, *entries: tuple[str, bytes, dict[str, object]], mode="w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data, attributes in entries:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data))
    return path


def list_tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_entrypoints_are_found():
    assert (find_entrypoints() / "train.py").is_file()


def test_same_code_packs_to_same_bytes(code, tmp_path):
    packed = pack(code)
    other = shutil.copytree(code, tmp_path / "elsewhere/other")
    os.utime(other / "train.py", (1, 1))
    (other / "train.py").chmod(0o600)
    for litter in ("__pycache__/train.pyc", ".git/config", "deep/.DS_Store"):
        (other / litter).parent.mkdir(exist_ok=True)
        (other / litter).write_text("litter")
    assert pack(other) == packed
    (other / "train.py").write_text("print('miau')\n")
    assert pack(other) != packed


def test_pack_and_unpack_are_opposites(code, tmp_path):
    archive = tmp_path / "sourcedir.tar.gz"
    archive.write_bytes(pack(code))
    unpack(archive, tmp_path / "out")
    assert list_tree(tmp_path / "out") == list_tree(code)
    assert os.access(tmp_path / "out/deep/run.sh", os.X_OK) and not os.access(tmp_path / "out/train.py", os.X_OK)
    with tarfile.open(archive) as tar:
        assert all((m.uid, m.gid, m.mtime, m.uname) == (0, 0, 0, "") for m in tar)


def test_code_is_sent_once(code, s3_endpoint):
    keys = {"aws_access_key_id": "t", "aws_secret_access_key": "t"}
    client = boto3.client("s3", "us-east-1", endpoint_url=s3_endpoint, **keys)
    client.create_bucket(Bucket="code")
    puts = []
    client.meta.events.register("before-send.s3.PutObject", lambda request, **_: puts.append(request.url))
    uri = upload_source(client, "code", "dogbreed/source", code)
    assert uri.startswith("s3://code/dogbreed/source/") and uri.endswith("/sourcedir.tar.gz")
    assert upload_source(client, "code", "dogbreed/source", code) == uri and len(puts) == 1
    assert client.get_object(Bucket="code", Key=uri.removeprefix("s3://code/"))["Body"].read() == pack(code)
    (code / "train.py").write_text("changed")
    assert upload_source(client, "code", "dogbreed/source", code) != uri and len(puts) == 2
    with pytest.raises(DogbreedError, match="NoSuchBucket"):
        upload_source(client, "missing-bucket", "p", code)


@pytest.mark.parametrize(
    "entry",
    [
        ("../escaped", b"x", {}),
        ("a/../../escaped", b"x", {}),
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "../escaped"}),
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("link", b"", {"type": tarfile.LNKTYPE, "linkname": "../escaped"}),
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "link"}),
        ("link", b"", {"type": tarfile.SYMTYPE, "linkname": "not-in-the-archive"}),
        ("pipe", b"", {"type": tarfile.FIFOTYPE}),
        ("device", b"", {"type": tarfile.CHRTYPE}),
        ("good", b"a file's name again, as a folder", {}),
    ],
)
def test_malicious_archives_are_refused(tmp_path, entry):
    entries = [("good", b"fine", {}), entry]
    if entry[0] == "good":
        entries.append(("good/inside", b"x", {}))
    archive = write_tar(tmp_path / "bad.tar.gz", *entries)
    (tmp_path / "escaped").write_text("untouched")
    with pytest.raises(DogbreedError, match=r"bad\.tar\.gz"):
        unpack(archive, tmp_path / "out")
    assert set(list_tree(tmp_path / "out")) == {"good"}
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert (tmp_path / "escaped").read_text() == "untouched"


def test_writing_through_a_link_of_the_archive(tmp_path):
    to_folder = {"type": tarfile.SYMTYPE, "linkname": "."}
    deeper = {"type": tarfile.SYMTYPE, "linkname": "a/.."}
    archive = write_tar(
        tmp_path / "bad.tar.gz", ("a", b"", to_folder), ("b", b"", deeper), ("b/../../escaped", b"x", {})
    )
    with pytest.raises(DogbreedError):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "escaped").exists() and not list((tmp_path / "out").rglob("*"))


def test_absolute_names_land_inside(tmp_path):
    unpack(write_tar(tmp_path / "a.tar", ("/etc/dogs", b"x", {}), mode="w"), tmp_path / "out")
    assert list_tree(tmp_path / "out") == {"etc/dogs": b"x"}


def test_links_within_become_copies(tmp_path):
    archive = write_tar(
        tmp_path / "model.tar.gz",
        ("./last.pt", b"", {"type": tarfile.SYMTYPE, "linkname": "best.pt"}),
        ("./best.pt", b"", {"type": tarfile.SYMTYPE, "linkname": "deep/5.pt"}),
        ("./deep/5.pt", b"weights", {"mode": 0o4777}),
        ("./hard.pt", b"", {"type": tarfile.LNKTYPE, "linkname": "./deep/5.pt"}),
    )
    unpack(archive, tmp_path / "out")
    assert list_tree(tmp_path / "out") == dict.fromkeys(["last.pt", "best.pt", "deep/5.pt", "hard.pt"], b"weights")
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert (tmp_path / "out/deep/5.pt").stat().st_mode & 0o7777 == 0o755


def test_bombs_are_bounded(tmp_path):
    archive = write_tar(tmp_path / "bomb.tar.gz", ("small", b"x", {}), ("zeros", bytes(50_000_000), {}))
    assert archive.stat().st_size < 100_000
    with pytest.raises(DogbreedError, match="too large"):
        unpack(archive, tmp_path / "out", max_bytes=1_000_000)
    assert set(list_tree(tmp_path / "out")) == {"small"}
    link = {"type": tarfile.LNKTYPE, "linkname": "f"}
    copies = write_tar(tmp_path / "copies.tar.gz", ("f", bytes(1000), {}), *((f"l{n}", b"", link) for n in range(9)))
    with pytest.raises(DogbreedError, match="too large"):
        unpack(copies, tmp_path / "copies", max_bytes=5000)
    with pytest.raises(DogbreedError, match="too large"):
        unpack(copies, tmp_path / "many", max_members=5)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no tar" * 99])
def test_damaged_archives(tmp_path, damage):
    whole = write_tar(tmp_path / "whole.tar.gz", ("noise", os.urandom(100_000), {}))
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(DogbreedError, match="cannot be unpacked"):
        unpack(broken, tmp_path / "out")
    with pytest.raises(DogbreedError, match="cannot be unpacked"):
        unpack(tmp_path / "none.tar.gz", tmp_path / "out")
