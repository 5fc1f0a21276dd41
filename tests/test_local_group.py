"""The process group of a job's program: it never runs unknown, and ends as a whole."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from conftest import wait_for

from dogbreed_cli.local import group


def test_a_group_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    """On AWS and here a job has 120 s; `Group` is what counts them."""
    ignore = "trap '' TERM; echo ready; (while :; do sleep 0.1; done) & while :; do sleep 0.1; done"
    lines: list[str] = []
    program = group.Group(["/bin/sh", "-c", ignore], tmp_path, {"PATH": os.defpath}, lines.append)
    try:
        wait_for(lambda: lines == ["ready"])
        began = time.monotonic()
        assert program.stop(grace=0.5) == -9
        assert time.monotonic() - began >= 0.5
        assert not group.has_members(program.process.pid)
    finally:
        program.end()


def started_since(before: set[psutil.Process]) -> set[psutil.Process]:
    return set(psutil.Process().children()) - before


def test_a_program_never_starts_whose_group_was_not_written_down(tmp_path: Path) -> None:
    (tmp_path / "group.json").mkdir()  # so it cannot be written
    before = set(psutil.Process().children())
    with pytest.raises(IsADirectoryError):
        group.Group(["/bin/sh", "-c", "touch started; sleep 600"], tmp_path, {"PATH": os.defpath}, print)
    wait_for(lambda: all(child.status() == psutil.STATUS_ZOMBIE for child in started_since(before)))
    assert not (tmp_path / "started").exists()
