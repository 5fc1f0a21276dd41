"""A file under its name is whole: whatever ends the writing, and however many write it at once."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from named_pipes import read_pipe

from dogbreed_cli.whole_files import write_text, written_beside


def test_a_file_is_replaced_at_the_end_only(tmp_path: Path) -> None:
    file = tmp_path / ("long" * 63)
    file.write_text("old")
    with written_beside(file) as beside:
        beside.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_an_error_ends_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(error), written_beside(file) as beside:
        beside.write_text("half")
        raise error
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "file"

    def write(text: str) -> None:
        with written_beside(file) as beside:
            beside.write_text(text * 10_000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, "abcdefgh" * 8))
    assert len(file.read_text()) == 10_000
    assert len(set(file.read_text())) == 1
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("before", ["old", None])
def test_behind_a_link_the_file_is_replaced_that_it_leads_to(tmp_path: Path, before: str | None) -> None:
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to("there/file")
    if before:
        file.write_text(before)
    write_text(link, "new")
    assert (link.is_symlink(), file.read_text()) == (True, "new")
    assert list(file.parent.iterdir()) == [file]


def test_a_pipe_is_written_into_and_stays(tmp_path: Path) -> None:
    with read_pipe(tmp_path / "pipe") as read:
        write_text(tmp_path / "pipe", "new")
        assert read() == b"new"
    assert [path.is_fifo() for path in tmp_path.iterdir()] == [True]


def test_so_is_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.write_text("")
    except OSError:
        pytest.skip("no device can be made here")
    write_text(device, "new")
    assert [path.is_char_device() for path in tmp_path.iterdir()] == [True]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "folder", "new")
    assert [path.is_dir() for path in tmp_path.iterdir()] == [True]
