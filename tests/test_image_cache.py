"""image_cache.py: unchanged files are not read again, changed ones always; broken, old and shared caches."""

import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pytest

from dogbreed_cli import image_reading, images
from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.cache import cache_folder, forget_unused
from dogbreed_cli.image_cache import ImageCache
from dogbreed_cli.images import ImageFolder, scan

COUNT = 30


@pytest.fixture
def dogs(tmp_path, monkeypatch) -> Path:
    """Drawn a minute ago: what was changed just now is not remembered."""
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    draw_breeds(tmp_path / "dogs", seed=3, counts={"train": 3, "valid": 1, "test": 1}, size=(64, 64))
    settle(monkeypatch)
    return tmp_path / "dogs"


def settle(monkeypatch) -> None:
    later = time.time() + 60
    monkeypatch.setattr("dogbreed_cli.image_cache.time.time", lambda: later)


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that are really read, by name."""
    seen: list[str] = []

    def read(file: str, size: int) -> image_reading.Reading:
        seen.append(Path(file).name)
        return image_reading.read(file, size)

    monkeypatch.setattr(images, "read", read)
    return seen


def scan_cached(folder: Path) -> ImageFolder:
    with ImageCache.open(folder) as cache:
        found = scan(folder, cache=cache)
    assert not cache.trouble
    return found


def test_second_scan_reads_nothing_and_says_the_same(dogs, reads):
    (dogs / "train/124.Poodle/broken.jpg").write_bytes(b"no picture")
    first = scan_cached(dogs)
    assert len(reads) == COUNT + 1
    reads.clear()
    again = scan_cached(dogs)
    assert reads == []
    assert (again.images, again.findings, again.fingerprint) == (first.images, first.findings, first.fingerprint)
    assert again.images == scan(dogs).images


def test_what_changed_is_read_again(dogs, reads):
    scan_cached(dogs)
    reads.clear()
    poodle, beagle = dogs / "train/124.Poodle/Poodle_00001.jpg", dogs / "train/016.Beagle/Beagle_00001.jpg"
    before = beagle.stat()
    content = bytearray(beagle.read_bytes())
    content[-3] ^= 1
    beagle.write_bytes(content)  # equal size, and its time set back: only the inode's own time has moved
    os.utime(beagle, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(poodle, (0, 0))
    shutil.copy(poodle, poodle.with_name("new.jpg"))
    found = scan_cached(dogs)
    assert sorted(reads) == ["Beagle_00001.jpg", "Poodle_00001.jpg", "new.jpg"]
    assert found.fingerprint == scan(dogs).fingerprint


def test_what_changed_just_now_is_not_remembered(dogs, reads, monkeypatch):
    monkeypatch.setattr("dogbreed_cli.image_cache.time.time", now)
    scan_cached(dogs)
    reads.clear()
    scan_cached(dogs)
    assert len(reads) == COUNT


def now() -> float:
    return time.clock_gettime(time.CLOCK_REALTIME)


def test_a_broken_cache_is_said_and_costs_nothing_else(dogs, reads):
    scan_cached(dogs)
    (cache,) = (cache_folder() / "scans").glob("*.sqlite")
    cache.write_bytes(b"no database" * 1000)
    with ImageCache.open(dogs) as broken:
        assert len(scan(dogs, cache=broken).images) == COUNT
    assert str(cache) in broken.trouble


def test_a_cache_folder_that_cannot_be_made_is_said(dogs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "file"))
    with ImageCache.open(dogs) as cache:
        assert len(scan(dogs, cache=cache).images) == COUNT
    assert "read anew" in cache.trouble


def _scan_in_a_process(folder: Path) -> tuple[str, str]:
    with ImageCache.open(folder) as cache:
        return scan(folder, cache=cache).fingerprint, cache.trouble


def test_several_scans_at_once(dogs):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = set(pool.map(_scan_in_a_process, [dogs] * 8))
    assert found == {(scan(dogs).fingerprint, "")}


def test_a_scan_that_is_given_up_keeps_what_it_read(dogs, reads):
    def stop(progress):
        if progress.done_files == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ImageCache.open(dogs) as cache:
        scan(dogs, cache=cache, on_progress=stop, max_workers=1)
    reads.clear()
    scan_cached(dogs)
    assert len(reads) == COUNT - 20


def test_unused_caches_go(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").touch()
    (tmp_path / "older").touch()
    for name in ("old", "older"):
        os.utime(tmp_path / name, (time.time() - 8 * 86_400,) * 2)
    forget_unused(tmp_path, days=7)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
