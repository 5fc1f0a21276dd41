"""What a person sees: every command in a terminal of 80 and of 120 columns, and without one, beside a kept snapshot.

What differs from run to run (times, numbers, names, folders) is masked. To accept a change: delete the file in
tests/snapshots/, run this test twice, look at git's diff.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import SMALL, Dogbreed, clean_environment, processes_of
from terminal import Seen, read_screen, run_on_terminal

SNAPSHOTS = Path(__file__).parent / "snapshots"
# In this order: each finds what those before it made.
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "upload": ("upload", "{dogs}"),
    "tune": ("tune", "--attach", "{tuning}"),
    "train": ("train", "--attach", "{training}"),
    "report": ("report", "--job", "{training}"),
    "deploy": ("deploy", "--job", "{training}", "--expires", "2h"),
    "predict": ("predict", "{dog}", "missing.jpg"),
    "status": ("status",),
    "status-all": ("status", "--all"),
    "logs": ("logs", "dogbreed-endpoint"),
    "unknown": ("stauts",),
    "unknown-key": ("--set", "train.epoch=3", "status"),
    "no-job": ("report", "--job", "dogbreed-none"),
    "teardown": ("teardown", "--dry-run"),
}
CODES = {"predict": 1, "unknown": 2, "unknown-key": 2, "no-job": 1}
MASKS = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\d{6}-\d{6}", "<stamp>"),
    (r"-[0-9a-f]{8}\b", "-<hash>"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?(\.\d+)?([+-]\d\d:\d\d)?", "<date>"),
    (r"\d\d:\d\d on \d\d [A-Z][a-z]+", "<date>"),
    (r"\[\d+(\.\d+)? (s|min)[^\]]*\]", "[<time>]"),
    (r"\d+(\.\d+)? ms", "<time>"),
    (r"\d+ (min|h) \d\d (s|min)|\b\d+(\.\d+)? s\b", "<time>"),
    (r"\d+(\.\d+)? [kMG]B", "<size>"),
    (r"\d{3}\.[A-Z]\w+", "<breed>"),
    (r"[█·]{4,}", "<bar>"),
    (r"\d+\.\d+(e-\d+)?", "<n>"),
    (r"\b00\d-", "<n>-"),
    (r"batch-size=\d+", "batch-size=<n>"),
    (r"(?m)^ \d+(?= +<n>)", " <n>"),
    (r"\d+ objects", "<n> objects"),
    (r" +\d+(?=%)", " <n>"),
    (r"[━─-]{3,}", "---"),
    (r"(?<=\S) {2,}", "  "),
)


@dataclass(frozen=True)
class Ready:
    dogbreed: Dogbreed
    names: dict[str, str]

    def words(self, name: str) -> list[str]:
        return [word.format(**self.names) for word in COMMANDS[name]]

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(**{**SMALL, **self.dogbreed.environment})


@pytest.fixture(scope="module")
def ready(dogs: Path, image_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """Images, a tuning job, a training job and an endpoint."""
    dogbreed = Dogbreed(tmp_path_factory.mktemp("seen"), {"DOGBREED_DEBUGGER__ENABLED": "false"})
    dogbreed.run("upload", str(dogs))
    arguments = ("tune", "--max-jobs", "2", "--epochs", "1", "--strategy", "Random")
    tuning = dogbreed.json(*arguments)["tuning_job"]
    training = dogbreed.json("train", "--epochs", "1")["training_job"]
    dogbreed.run("deploy")
    dog = next(iter(sorted((dogs / "test").rglob("*.jpg"))))
    yield Ready(dogbreed, {"dogs": str(dogs), "dog": str(dog), "tuning": tuning, "training": training})
    dogbreed.run("teardown", "--yes")
    assert not processes_of(dogbreed.folder)


def mask(ready: Ready, text: str) -> str:
    folders = {ready.names["dog"]: "<dog>", ready.names["dogs"]: "<dogs>", str(ready.dogbreed.folder): "<folder>"}
    for folder, name in folders.items():
        text = text.replace(folder, name)
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n") + "\n"


def compare(name: str, made: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(made, encoding="utf-8")
        pytest.fail(f"wrote {path}: look at it and run again")
    kept = path.read_text(encoding="utf-8")
    difference = "".join(difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "kept", "seen now"))
    assert not difference, f"tests/snapshots/{name}.txt is not what is seen:\n{difference}"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_terminal(name: str, columns: int, ready: Ready) -> None:
    command = ready.dogbreed.command(*ready.words(name))
    seen = run_on_terminal(command, ready.dogbreed.folder, ready.environment, columns)
    assert seen.code == CODES.get(name, 0), seen.screen
    compare(f"{name}-{columns}", mask(ready, seen.screen))


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_terminal(name: str, ready: Ready) -> None:
    done = ready.dogbreed.run(*ready.words(name), code=CODES.get(name, 0))
    assert "\x1b" not in done.stdout + done.stderr
    made = f"---- stdout\n{done.stdout}---- stderr\n{done.stderr}"
    compare(f"{name}-pipe", mask(ready, made))


@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_narrow_terminal_that_knows_ascii_alone_and_no_colours(name: str, ready: Ready) -> None:
    plain = {"NO_COLOR": "1", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    command = ready.dogbreed.command(*ready.words(name))
    seen = run_on_terminal(command, ready.dogbreed.folder, {**ready.environment, **plain}, 40)
    assert seen.code == CODES.get(name, 0), seen.screen
    assert seen.raw.isascii()
    assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", seen.raw), "a colour"
    assert "Traceback" not in seen.screen


def test_an_answer_of_no_is_exit_code_3(ready: Ready) -> None:
    seen = run_on_terminal(ready.dogbreed.command("teardown"), ready.dogbreed.folder, ready.environment, typed=b"n\n")
    assert (seen.code, "nothing was changed" in seen.screen) == (3, True)
    assert len(ready.dogbreed.json("status")["items"]) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_nobody_is_asked_off_a_terminal(name: str, ready: Ready) -> None:
    """Standard input is closed: a question would be an error, or hang."""
    process = ready.dogbreed.start(*ready.words(name))
    process.communicate(timeout=60)
    assert process.returncode == CODES.get(name, 0)


def test_a_screen_is_read_as_it_is_seen() -> None:
    text = "one\r\n\x1b[1mtwo\x1b[0m\r\n\x1b[1A\x1b[2Kthree\rT\r\nx\x1b[?25h"
    assert read_screen(text) == "one\nThree\nx\n"
    assert Seen(0, b"gone\r\n\x1b[1A\x1b[0J").screen == "\n"
