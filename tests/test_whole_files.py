"""A file under its name is whole: whatever ends the writing, and however many write it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dogbreed_cli.whole_files import written_beside


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
