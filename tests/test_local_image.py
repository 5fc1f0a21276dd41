"""The container image: built once, by one of two who come at once, wholly or not at all. With packages of 60 kB."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import clean_environment, wait_for

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local.image import ensure, image_folder

BUILD = """
import sys
from pathlib import Path
from dogbreed_cli.local.image import ensure
print(ensure(lambda line: print(line, file=sys.stderr, flush=True), Path(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOGBREED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pin(tmp_path: Path, *requirements: str) -> Path:
    pins = tmp_path / "pins.txt"
    pins.write_text("\n".join(requirements) + "\n")
    return pins


def version(python: Path, package: str) -> str:
    command = [str(python), "-c", f"import importlib.metadata as m; print(m.version({package!r}))"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def start_build(pins: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(pins)],
        env=clean_environment(DOGBREED_CACHE=str(cache)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_built_once_with_exactly_the_list(tmp_path: Path) -> None:
    told: list[str] = []
    pins = pin(tmp_path, "idna==3.10")
    python = ensure(told.append, pins)
    assert version(python, "idna") == "3.10"
    assert any("building" in line for line in told)
    told.clear()
    built = python.parent.parent.stat().st_ctime_ns
    assert ensure(told.append, pins) == python
    assert (told, python.parent.parent.stat().st_ctime_ns) == ([], built)


def test_a_changed_list_is_another_image(tmp_path: Path) -> None:
    first = ensure(print, pin(tmp_path, "idna==3.10"))
    second = ensure(print, pin(tmp_path, "idna==3.9"))
    assert first != second
    assert (version(first, "idna"), version(second, "idna")) == ("3.10", "3.9")


def test_two_commands_at_once_build_it_once(tmp_path: Path, cache: Path) -> None:
    pins = pin(tmp_path, "idna==3.10", "six==1.17.0")
    builders = [start_build(pins, cache) for _ in range(3)]
    outputs = [builder.communicate(timeout=120) for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0, 0]
    assert len({out for out, _ in outputs}) == 1
    assert sum("building the local container image in" in said for _, said in outputs) == 1
    assert version(Path(outputs[0][0].strip()), "six") == "1.17.0"


def test_a_failed_build_leaves_nothing_and_says_why(tmp_path: Path, cache: Path) -> None:
    pins = pin(tmp_path, "idna==3.10", "idna-there-is-no-such-package==99.1")
    with pytest.raises(DogbreedError) as caught:
        ensure(print, pins)
    assert "could not be built" in caught.value.what
    assert "idna-there-is-no-such-package" in caught.value.why
    assert "local.python" in caught.value.fix
    assert [path.name for path in (cache / "images").iterdir() if path.is_dir()] == []


def test_a_cache_that_cannot_be_written_is_a_users_error(tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(DogbreedError, match="could not be built"):
        ensure(print, pin(tmp_path, "idna==3.10"))


def test_what_a_killed_build_left_is_built_anew(tmp_path: Path, cache: Path) -> None:
    pins = pin(tmp_path, "idna==3.10")
    folder = image_folder(pins)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("half a file")
    (folder / "half.txt").touch()
    python = ensure(print, pins)
    assert version(python, "idna") == "3.10"
    assert not (folder / "half.txt").exists()


def test_the_installer_of_a_killed_command_is_waited_for(tmp_path: Path, cache: Path) -> None:
    """uv outlives a command that got kill -9; the next one must not remove the folder under its feet."""
    pins = pin(tmp_path, "idna==3.10", "numpy==2.2.6")
    first = start_build(pins, cache)
    folder = image_folder(pins)
    second = None
    try:
        installer = wait_for(lambda: children_of(first.pid))[0]
        os.kill(installer, signal.SIGSTOP)
        first.kill()
        first.wait()
        second = start_build(pins, cache)
        assert second.stderr is not None
        assert "waiting for it" in second.stderr.readline()
        assert second.poll() is None
        os.kill(installer, signal.SIGCONT)
        out, said = second.communicate(timeout=120)
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()
    assert second.returncode == 0, said
    assert Path(out.strip()) == folder / "bin" / "python"
    assert version(folder / "bin" / "python", "numpy") == "2.2.6"


def children_of(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children() if "uv" in child.name()]
