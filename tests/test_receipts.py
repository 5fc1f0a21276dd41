"""Receipts: an upload of what has not changed says what the last one said, and whatever did change is seen."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import InProcess

from dogbreed_cli.breeds import draw_breeds
from dogbreed_cli.local import BUCKET, Home, connect
from dogbreed_cli.receipts import find_receipt

KEY = "dogbreed/data/train/016.Beagle/Beagle_00001.jpg"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: each changes something of it and uploads that."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def dogs(place: Path) -> Path:
    """With something to find."""
    draw_breeds(place / "dogs", seed=3, counts={"train": 2, "valid": 1, "test": 1}, size=(64, 64))
    shutil.copy(place / "dogs/train/016.Beagle/Beagle_00001.jpg", place / "dogs/test/016.Beagle/seen.jpg")
    return place / "dogs"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a minute: what was changed just now is not remembered."""
    monkeypatch.setattr("dogbreed_cli.image_cache.time.time", lambda: time.clock_gettime(time.CLOCK_REALTIME) + 60)


@pytest.fixture
def dogbreed(place: Path) -> InProcess:
    return InProcess(place, {"DOGBREED_CACHE": str(place / "cache")})


@pytest.fixture
def looked(place: Path) -> Callable[[], bool]:
    """Whether files were looked at since it was asked last: then there is a cache of what they are."""

    def has_looked() -> bool:
        scans = place / "cache" / "scans"
        found = scans.exists()
        shutil.rmtree(scans, ignore_errors=True)
        return found

    return has_looked


@pytest.fixture
def uploaded(later: None, dogbreed: InProcess, dogs: Path, looked: Callable[[], bool]) -> dict[str, Any]:
    """All of it is there, and a receipt of that."""
    found = dogbreed.json("upload", str(dogs))
    looked()
    return found


def open_client(dogbreed: InProcess) -> Any:
    return connect(Home(dogbreed.folder / ".dogbreed")).client("s3")


def test_nothing_changed(uploaded, dogbreed, dogs, looked):
    page = Path(uploaded["report"])
    text = page.read_text()
    page.unlink()
    again = dogbreed.json("upload", str(dogs))
    assert not looked()
    assert again == {**uploaded, "sent": 0, "unchanged": 25, "bytes_sent": 0, "seconds": 0.0}
    assert page.read_text() == text
    assert "leak" in dogbreed.run("upload", str(dogs)).stderr
    strict = dogbreed.json("upload", str(dogs), "--strict", code=2)
    assert "1 findings" in strict["error"]
    assert (strict["findings"], strict["sent"], strict["report"]) == (uploaded["findings"], 0, uploaded["report"])
    assert not looked()


def test_an_upload_that_found_all_of_it_there_has_a_receipt_too(uploaded, place, dogbreed, dogs, looked):
    shutil.rmtree(place / "cache/receipts")
    assert dogbreed.json("upload", str(dogs))["sent"] == 0 and looked()
    assert dogbreed.json("upload", str(dogs))["sent"] == 0 and not looked()


def change_bytes(dogs: Path) -> None:
    """Of the same size, and its time set back: only the inode's own time has moved."""
    beagle = dogs / "train/016.Beagle/Beagle_00002.jpg"
    before = beagle.stat()
    content = bytearray(beagle.read_bytes())
    content[-3] ^= 1
    beagle.write_bytes(content)
    os.utime(beagle, ns=(before.st_atime_ns, before.st_mtime_ns))


def add(dogs: Path) -> None:
    shutil.copy(dogs / "train/016.Beagle/Beagle_00002.jpg", dogs / "train/016.Beagle/new.jpg")


HERE = {
    "bytes": (change_bytes, 1, 0),
    "added": (add, 1, 0),
    "renamed": (lambda dogs: (dogs / "train/016.Beagle/new.jpg").rename(dogs / "train/016.Beagle/so.jpg"), 1, 1),
    "removed": (lambda dogs: (dogs / "train/016.Beagle/so.jpg").unlink(), 0, 1),
    "hidden": (lambda dogs: (dogs / "train/.note").touch(), 0, 0),
    "foreign": (lambda dogs: (dogs / "note.txt").touch(), 0, 0),
}


def test_what_changed_here_is_seen(uploaded, dogbreed, dogs, looked):
    before = uploaded
    for change, (alter, sent, deleted) in HERE.items():
        alter(dogs)
        found = dogbreed.json("upload", str(dogs))
        assert looked(), change
        assert (found["sent"], found["deleted"]) == (sent, deleted), change
        assert (found["findings"] == before["findings"]) == (change == "bytes"), change
        before = found


THERE = {
    "removed": (lambda s3: s3.delete_object(Bucket=BUCKET, Key=KEY), 1, 0),
    "replaced": (lambda s3: s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"another"), 1, 0),
    "added": (lambda s3: s3.put_object(Bucket=BUCKET, Key=f"{KEY}.png", Body=b"one more"), 0, 1),
    "no manifest": (lambda s3: s3.delete_object(Bucket=BUCKET, Key="dogbreed/data/manifest.json"), 0, 0),
}


def test_what_changed_there_is_seen(uploaded, dogbreed, dogs, looked):
    for change, (alter, sent, deleted) in THERE.items():
        alter(open_client(dogbreed))
        found = dogbreed.json("upload", str(dogs))
        assert looked(), change
        assert (found["sent"], found["deleted"]) == (sent, deleted), change
    assert open_client(dogbreed).head_object(Bucket=BUCKET, Key=KEY)["ContentLength"] > 100
    assert dogbreed.json("upload", str(dogs))["sent"] == 0 and not looked()


def test_what_others_put_there_is_no_change(uploaded, dogbreed, dogs, looked):
    open_client(dogbreed).put_object(Bucket=BUCKET, Key="dogbreed/data/features/x", Body=b"not ours")
    assert dogbreed.json("upload", str(dogs))["sent"] == 0 and not looked()


def test_another_seed_is_another_question(uploaded, dogbreed, dogs, looked):
    dogbreed.json("--set", "data.seed=5", "upload", str(dogs))
    assert looked()


def test_an_empty_place_is_filled(uploaded, dogbreed, dogs, looked):
    shutil.rmtree(dogbreed.folder / ".dogbreed")
    assert dogbreed.json("upload", str(dogs))["sent"] == 25 and looked()


def test_a_broken_receipt_is_none(uploaded, place, dogbreed, dogs, looked):
    (file,) = (place / "cache/receipts").glob("*.json")
    whole = file.read_text()
    digest = json.loads(whole)["folder"]
    assert find_receipt(file, digest) and not find_receipt(file, "another") and not find_receipt(file, "")
    for content in ("", "no json", "{}", "[]", whole.replace('"findings"', '"found"'), whole.replace('"page"', '"p"')):
        file.write_text(content)
        assert find_receipt(file, digest) is None
    assert dogbreed.json("upload", str(dogs))["unchanged"] == 25 and looked()
    assert file.read_text().partition('"page"')[0] == whole.partition('"page"')[0]


def test_what_changed_just_now_is_looked_at_again(uploaded, dogbreed, dogs, looked, monkeypatch):
    monkeypatch.setattr("dogbreed_cli.image_cache.time.time", lambda: time.clock_gettime(time.CLOCK_REALTIME))
    (dogs / "train/016.Beagle/Beagle_00001.jpg").touch()
    for _ in range(2):
        dogbreed.json("upload", str(dogs))
        assert looked()
