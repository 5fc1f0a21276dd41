"""archives.py: .zip and .tar(.gz) of a data set; nothing outside the folder, no links, no bombs."""

import io
import os
import stat
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from packed import pack_tar, pack_zip

from dogbreed_cli.archives import is_archive, unpack, unpack_once
from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.cache import cache_folder
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.images import scan


@pytest.fixture
def dogs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    draw_breeds(tmp_path / "dogs", seed=3, counts={"train": 2, "valid": 1, "test": 1}, size=(64, 64))
    return tmp_path / "dogs"


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_the_data_set_is_the_same(dogs, tmp_path, suffix):
    to = tmp_path / f"dogs.{suffix}"
    packed = pack_zip(dogs, to) if suffix == "zip" else pack_tar(dogs, to, "w:gz" if suffix == "tar.gz" else "w")
    seen: list[tuple[int, int]] = []
    assert is_archive(packed)
    folder = unpack_once(packed, on_progress=lambda done, total: seen.append((done, total)))
    assert scan(folder).fingerprint == scan(dogs).fingerprint
    assert seen == sorted(seen) and 0 < seen[-1][0] <= seen[-1][1] == packed.stat().st_size
    inode = folder.stat().st_ino
    assert unpack_once(packed).stat().st_ino == inode  # not unpacked again
    os.utime(packed, (0, 0))
    assert unpack_once(packed) != folder
    assert not list((cache_folder() / "unpacked").glob(".*"))


def test_a_tar_file_that_ends_with_a_zip_file_is_one(dogs, tmp_path):
    pack_zip(dogs, tmp_path / "inner.zip")
    with tarfile.open(tmp_path / "outer.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(tmp_path / "inner.zip", "inner.zip")
    unpack(tmp_path / "outer.tar", tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["inner.zip"]


def write_zip(to: Path, name: str, mode: int = stat.S_IFREG | 0o644) -> Path:
    member = zipfile.ZipInfo("placeholder")
    member.filename = member.orig_filename = name
    member.external_attr = mode << 16
    with zipfile.ZipFile(to, "w") as packed:
        packed.writestr(zipfile.ZipInfo("good/1.jpg"), b"x")
        packed.writestr(member, b"target")
    return to


def write_tar(to: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, 6 if kind == tarfile.REGTYPE else 0
    with tarfile.open(to, "w") as tar:
        tar.addfile(tarfile.TarInfo("good"))
        tar.addfile(member, io.BytesIO(b"target"))
    return to


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out", "C:out"])
def test_nothing_is_written_outside(tmp_path, name):
    for archive in (write_zip(tmp_path / "a.zip", name), write_tar(tmp_path / "a.tar", name)):
        with pytest.raises(DogbreedError, match="outside the folder") as caught:
            unpack(archive, tmp_path / f"to-{archive.suffix}" / "images")
        assert caught.value.fix
    assert not list(tmp_path.rglob("*out"))


@pytest.mark.parametrize(
    "kind, link, said",
    [
        (tarfile.SYMTYPE, "/etc/passwd", "link"),
        (tarfile.SYMTYPE, "good", "link"),
        (tarfile.LNKTYPE, "good", "link"),
        (tarfile.FIFOTYPE, "", "device"),
        (tarfile.CHRTYPE, "", "device"),
    ],
)
def test_no_links_and_devices_in_tar(tmp_path, kind, link, said):
    with pytest.raises(DogbreedError, match=f"has a {said}"):
        unpack(write_tar(tmp_path / "a.tar", "bad", kind, link), tmp_path / "to")
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["good"]


@pytest.mark.parametrize("mode, said", [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "device")])
def test_no_links_and_devices_in_zip(tmp_path, mode, said):
    with pytest.raises(DogbreedError, match=f"has a {said}"):
        unpack(write_zip(tmp_path / "a.zip", "bad", mode | 0o777), tmp_path / "to")


def test_bombs_stop_early(tmp_path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed, packed.open("zeros", "w", force_zip64=True) as to:
        for _ in range(80):
            to.write(bytes(2**20))
    with pytest.raises(DogbreedError, match="too large"):
        unpack(bomb, tmp_path / "to")  # 80 MB out of 80 kB
    assert (tmp_path / "to/zeros").stat().st_size <= 64 * 2**20
    with pytest.raises(DogbreedError, match="too large"):
        unpack(bomb, tmp_path / "other", max_bytes=10**6)
    with pytest.raises(DogbreedError, match="more than 3 entries"):
        pack_zip(make_files(tmp_path / "many", 5), tmp_path / "many.zip")
        unpack(tmp_path / "many.zip", tmp_path / "third", max_files=3)


def make_files(folder: Path, count: int) -> Path:
    folder.mkdir()
    for n in range(count):
        (folder / f"{n}.txt").write_text("x")
    return folder


def test_two_entries_of_one_name_are_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("a/1.jpg"))
    with pytest.raises(DogbreedError, match="exists"):
        unpack(tmp_path / "a.tar", tmp_path / "to")


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_cut_archive_leaves_nothing(dogs, tmp_path, suffix):
    to = tmp_path / f"dogs.{suffix}"
    packed = pack_zip(dogs, to) if suffix == "zip" else pack_tar(dogs, to, "w:gz")
    content = packed.read_bytes()
    packed.write_bytes(content[: len(content) // 2])
    with pytest.raises(DogbreedError, match="cannot be unpacked"):
        unpack_once(packed)
    assert list((cache_folder() / "unpacked").iterdir()) == []


def test_what_was_unpacked_goes_after_two_weeks(dogs, tmp_path):
    old = unpack_once(pack_zip(dogs, tmp_path / "old.zip"))
    os.utime(old, (time.time() - 15 * 86_400,) * 2)
    unpack_once(pack_zip(dogs, tmp_path / "new.zip"))
    assert not old.exists()
