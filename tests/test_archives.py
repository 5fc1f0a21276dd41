"""archives.py: .zip and .tar(.gz) of a data set; nothing outside the folder, no links, no bombs."""

import gzip
import io
import os
import stat
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from packed import pack_tar, pack_zip

from dogbreed_cli.archives import EXTENDED, MAX_HEADER, is_archive, unpack, unpack_once
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


# ---- a tar's headers: tarfile reads what belongs to them into memory


GOOD = tarfile.TarInfo("good").tobuf()


def head(kind: bytes, size: int, **pax: str) -> bytes:
    """A tar's header, and pax headers before it where there are any."""
    member = tarfile.TarInfo("images/dog.png")
    member.type, member.size, member.pax_headers = kind, size, {key.replace("_", "."): pax[key] for key in pax}
    return member.tobuf(tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT)


def pack(to: Path, *content: bytes) -> Path:
    """As a .tar.gz."""
    with gzip.open(to, "wb", compresslevel=1) as packed:
        for block in (*content, bytes(1024)):
            packed.write(block)
    return to


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_HEADER
    finally:
        tracemalloc.stop()


def refuse(archive: Path, folder: Path, said: str) -> None:
    """What cannot be unpacked is an archive all the same: who gave it is told what is wrong."""
    with little_memory():
        assert is_archive(archive)
        with pytest.raises(DogbreedError, match="cannot be unpacked") as caught:
            unpack(archive, folder)
        assert said in str(caught.value.why)


@pytest.mark.parametrize("kind", EXTENDED)
def test_a_header_may_not_bring_along_what_it_likes(tmp_path, kind):
    size = 32 * 2**20
    bomb = [head(kind, size), *[b"x" * 2**20] * 32, GOOD]
    refuse(pack(tmp_path / "first.tar.gz", *bomb), tmp_path / "to", "a header of 33,554,432 bytes")
    refuse(pack(tmp_path / "second.tar.gz", GOOD, *bomb), tmp_path / "other", "a header of 33,554,432 bytes")
    backwards = [head(kind, -512), *bomb[1:]]  # Python reads -512 bytes as all that there are
    refuse(pack(tmp_path / "negative.tar.gz", *backwards), tmp_path / "third", "a header of -512 bytes")


def test_nor_many_headers_in_a_row(tmp_path):
    row = [tarfile.TarInfo.create_pax_global_header({"comment": "x" * 2**18})] * 40
    refuse(pack(tmp_path / "row.tar.gz", *row, GOOD), tmp_path / "to", "a header of")
    deep = [head(tarfile.XGLTYPE, 0)] * 3000
    refuse(pack(tmp_path / "deep.tar.gz", *deep, GOOD), tmp_path / "other", "Error: ")


def test_headers_of_many_files_are_not_kept(tmp_path):
    blocks = []
    for n in range(40):
        blocks.append(tarfile.TarInfo.create_pax_global_header({f"comment{n}": "x" * 400_000}))
        member = tarfile.TarInfo(f"{n}")
        member.pax_headers = {"comment": "x" * 400_000}
        blocks.append(member.tobuf(tarfile.PAX_FORMAT))
    packed = pack(tmp_path / "many.tar.gz", *blocks)
    with little_memory():
        unpack(packed, tmp_path / "to")
    assert len(list((tmp_path / "to").iterdir())) == 40


def test_sparse_files_are_refused(tmp_path):
    """Where their holes are may be a list of any length, in each of the four forms there are."""
    holes = b"".join(b"%011o\0" % n for n in range(1, 43)) + b"\1" + bytes(7)  # 21 of them, and more to come
    old = bytearray(head(tarfile.GNUTYPE_SPARSE, 0))
    old[482] = 1
    old[148:156] = b"%06o\0 " % (sum(old) - sum(old[148:156]) + 8 * 32)
    forms = {
        "old": [bytes(old), *[holes * 2048] * 8],
        "0.0": [head(tarfile.REGTYPE, 0, GNU_sparse_size="5", GNU_sparse_numblocks="1")],
        "0.1": [head(tarfile.REGTYPE, 0, GNU_sparse_map="0,1,2,1", GNU_sparse_size="5")],
        "1.0": [head(tarfile.REGTYPE, 2**24, GNU_sparse_major="1", GNU_sparse_minor="0"), b"9999999\n", b"1\n" * 2**23],
    }
    for name, content in forms.items():
        archive = pack(tmp_path / f"{name}.tar.gz", *content)
        refuse(archive, tmp_path / name, "it has a sparse file")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_fine(tmp_path, form):
    name = "/".join(["n" * 200] * 4) + "/dög.jpg"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        tar.addfile(tarfile.TarInfo(name))
    unpack(tmp_path / "a.tar", tmp_path / "to")
    assert (tmp_path / "to" / name).exists()


def test_an_archive_cut_in_its_first_header_is_one(tmp_path):
    packed = pack(tmp_path / "a.tar.gz", GOOD)
    packed.write_bytes(packed.read_bytes()[:40])
    refuse(packed, tmp_path / "to", "EOFError")


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
