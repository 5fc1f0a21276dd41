"""image_readers.py: processes read what threads read; none outlives the command; one that crashes is said."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from drawn_images import draw
from PIL import Image

from dogbreed_cli import images
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.image_readers import image_readers
from dogbreed_cli.image_reading import read

# A command that is killed while its readers wait for work.
COMMAND = """
import time
from dogbreed_cli.image_readers import image_readers
with image_readers(2) as read_files:
    read_files([("/none.jpg", 1)])
    print("ready", flush=True)
    time.sleep(600)
"""


def files_of(folder: Path) -> list[tuple[str, int]]:
    return [(str(path), path.lstat().st_size) for path in sorted(folder.iterdir())]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A few of each kind: fine, odd, broken, too large, not there."""
    folder = tmp_path / "pictures"
    for shade in range(20):
        draw(folder / f"{shade:02}.png", shade)
    draw(folder / "cmyk.jpg", 1, mode="CMYK")
    draw(folder / "\udce9.png", 2)  # a name that is no text
    (folder / "cut.jpg").write_bytes((folder / "cmyk.jpg").read_bytes()[:-200])
    (folder / "empty.jpg").touch()
    (folder / "link.jpg").symlink_to("nowhere")
    Image.new("1", (5000, 4000)).save(folder / "large.png")
    return folder


def test_processes_read_as_this_one_does(pictures: Path) -> None:
    files = files_of(pictures)
    assert read(str(pictures / "large.png"), 1, leave_large=True) is None  # left to this process
    with image_readers(2) as read_files, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda file: read_files([file])[0], files))
        assert read_files(files) == found
    assert found == [read(*file) for file in files]
    assert {reading.fault for reading in found} == {"", "truncated", "empty", "unreadable"}


def test_a_scan_of_many_files_is_one_of_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shade in range(60):
        draw(tmp_path / f"{shade % 3}" / f"{shade:03}.png", shade)
    (tmp_path / "0" / "broken.jpg").write_bytes(b"no picture")
    threads = images.scan(tmp_path)
    monkeypatch.setattr(images, "FEW", 50)
    monkeypatch.setattr(images, "EACH", 30)
    monkeypatch.setattr(images, "read", None)  # what reads is not this process
    assert images.scan(tmp_path) == threads


def test_no_reader_is_left(pictures: Path) -> None:
    with pytest.raises(KeyboardInterrupt), image_readers(3) as read_files:
        read_files(files_of(pictures)[:3])
        readers = find_readers(os.getpid())
        assert len(readers) == 3
        raise KeyboardInterrupt
    assert not any(reader.is_running() for reader in readers)


def test_no_reader_outlives_a_killed_command(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, cwd=tmp_path) as command:
        assert command.stdout and command.stdout.readline() == b"ready\n"
        readers = find_readers(command.pid)
        command.send_signal(signal.SIGKILL)
    assert len(readers) == 2
    assert not psutil.wait_procs(readers, timeout=60)[1]


def test_a_reader_that_crashes_is_said_with_its_files(pictures: Path) -> None:
    files = files_of(pictures)
    with image_readers(1) as read_files:
        read_files(files[:1])
        find_readers(os.getpid())[0].send_signal(signal.SIGSEGV)
        time.sleep(0.1)
        with pytest.raises(DogbreedError, match=r"ended with -11") as caught:
            read_files(files)
    assert files[0][0] in caught.value.why


def test_modules_of_the_current_folder_are_not_taken(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with image_readers(1) as read_files:
        assert read_files(files_of(pictures)[:1])[0].format == "PNG"


def find_readers(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "dogbreed_cli.image_readers" in child.cmdline()]
