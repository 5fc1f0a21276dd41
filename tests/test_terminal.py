"""What a person sees: all commands in a terminal of 80 and of 120 columns, and without one, beside what was kept.

Each session is one text in tests/snapshots/, to be read from top to bottom. What differs from run to run (times, names
made of times, hashes) is written over by something as wide. To accept a change: delete the text, run this test twice,
and look at git's diff.
"""

from __future__ import annotations

import difflib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, clean_environment, processes_of, wait_for
from forked import forks_of, run_forked_python
from replayed_container import build_replayed_image
from terminal import open_terminal, read_screen

from dogbreed_cli.local import Home, connect
from dogbreed_cli.local.records import Records

SNAPSHOTS = Path(__file__).parent / "snapshots"
# What is typed, in this order, and its exit code. Between two commands, what is done meanwhile: `pause`, a function.
TYPED: list[tuple[str, int]] = [
    ("--help", 0),
    ("init", 0),
    ("check", 0),
    ("upload dogImages", 0),
    ("status", 0),
    ("tune --max-jobs 2 --max-parallel-jobs 1 --strategy Random --no-wait", 0),
    ("tune --attach {tuning}", 0),
    ("train --from-best --no-wait", 0),
    ("train --attach {training}", 0),
    ("report", 0),
    ("deploy --expires 2h --test dog.jpg", 0),
    ("deploy", 0),
    ("predict dog.jpg", 0),
    ("predict missing.jpg", 1),
    ("status", 0),
    ("status --all", 0),
    ("logs", 0),
    ("stauts", 2),
    ("--set train.epoch=3 status", 2),
    ("report --job dogbreed-none", 1),
    ("deploy --budget 5 --expires soon", 2),
    ("teardown --dry-run", 0),
    ("teardown", 3),  # somebody says no; without a terminal nobody is there to say it
    ("teardown --yes", 0),
]
MASKS = (
    (r"seen-\w{8}", "seen-00000000"),
    (r"\d{6}-\d{6}", "261122-194300"),
    (r"features-\w{12}", "features-0123456789ab"),
    (r"(?<=-)[0-9a-f]{8}\b", "0123abcd"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-11-22 19:43:00"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-11-22 19:43"),
    (r"\b\d\d:\d\d:\d\d\b", "19:43:00"),
    (r"(?<=\[)\d+(\.\d+)? s(?=\])", "0.4 s"),
    (r"(?<=\bin )\d+(\.\d+)? s\b", "0.4 s"),
    (r"(?<=\()\d+(\.\d+)? s(?=\))", "0.4 s"),
    (r"\b\d+ ms\b", "12 ms"),
    (r"(Python\s+)\d\.\d+\.\d+", r"\g<1>3.12.0"),
    (r"\d+\.\d (kB|MB|GB)\b", r"1.2 \1"),
    (r"\b(\d) h \d\d min", r"\1 h 00 min"),
)


@dataclass
class Session:
    """A project in a folder whose name has always the same length, so that lines break where they broke before."""

    folder: Path
    environment: dict[str, str]
    transcript: list[str] = field(default_factory=list)

    @property
    def home(self) -> Home:
        return Home(self.folder / ".dogbreed")

    def ask(self, arguments: list[str], path: str, encoding: str = "utf-8") -> int:
        """On the terminal of that path."""
        command = ("-m", "dogbreed_cli", *arguments)
        with Path(path).open("r+b", buffering=0) as terminal:
            return forks_of(sys.executable).run(
                command, self.folder, self.environment, [terminal] * 3, encoding=encoding
            )

    def on_terminal(self, arguments: list[str], columns: int) -> tuple[int, str]:
        """Somebody sits there who says no."""
        with open_terminal(columns, b"n\n") as (path, raw):
            code = self.ask(arguments, path)
        return code, read_screen(raw.decode())

    def without_terminal(self, arguments: list[str]) -> tuple[int, str]:
        """Standard output, then standard error with a mark before each line."""
        command = ("-m", "dogbreed_cli", *arguments)
        done = run_forked_python(sys.executable, *command, env=self.environment, cwd=self.folder)
        assert "\x1b" not in done.stdout + done.stderr
        return done.returncode, done.stdout + "".join(f"! {line}\n" for line in done.stderr.splitlines())

    def names(self) -> dict[str, str]:
        """Of the jobs that there are, once they have ended; and from now on they took four seconds, three hours ago."""
        if not self.home.records.is_dir():
            return {}
        client, records = connect(self.home).client("sagemaker"), Records(self.home.records)
        wait_for(lambda: not running(client))
        for kind in ("training-job", "hyper-parameter-tuning-job", "endpoint"):
            for record in records.all(kind):
                records.update(kind, next(record[key] for key in record if key.endswith("Name")), put_back)
        tunings = client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"]
        trainings = client.list_training_jobs(NameContains="-train-")["TrainingJobSummaries"]
        named = [("tuning", one["HyperParameterTuningJobName"]) for one in tunings]
        return dict(named + [("training", one["TrainingJobName"]) for one in trainings])


def running(client: Any) -> bool:
    found = client.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
    return bool(found or client.list_hyper_parameter_tuning_jobs(StatusEquals="InProgress")[
        "HyperParameterTuningJobSummaries"])  # fmt: skip


def put_back(record: dict[str, Any]) -> None:
    begun = time.time() - 3 * 3600 - 60
    times = {"CreationTime": 0, "TrainingStartTime": 1, "TrainingEndTime": 5, "HyperParameterTuningEndTime": 9}
    record.update({name: begun + seconds for name, seconds in times.items() if name in record})
    for second, transition in enumerate(record.get("SecondaryStatusTransitions", [])):
        transition.update(StartTime=begun + second, EndTime=begun + second + 1)


@pytest.fixture(scope="module")
def image(dogs: Path) -> Iterator[Path]:
    """The interpreter of the container image, at a path that is always as long."""
    folder = Path(tempfile.mkdtemp(prefix="seen-", dir="/tmp"))
    yield build_replayed_image(folder / "image", dogs)
    shutil.rmtree(folder)


@pytest.fixture
def session(dogs: Path, image: Path) -> Iterator[Session]:
    folder = Path(tempfile.mkdtemp(prefix="seen-", dir="/tmp"))
    shutil.copytree(dogs, folder / "dogImages")
    shutil.copy(next(iter(sorted((dogs / "test").rglob("*.jpg")))), folder / "dog.jpg")
    settings = {"DOGBREED_LOCAL__PYTHON": str(image), "DOGBREED_FEATURES__ENABLED": "true", "TERM": "xterm-256color"}
    settings |= {"DOGBREED_CACHE": str(folder / "cache")}
    environment = clean_environment(**{**SMALL, **settings})
    for name in ("COLUMNS", "LINES", "CI", "NO_COLOR", "DOGBREED_HOME"):
        environment.pop(name, None)
    session = Session(folder, environment)
    try:
        yield session
    finally:
        session.without_terminal(["teardown", "--yes"])
        wait_for(lambda: not processes_of(folder))
        shutil.rmtree(folder)


def play(session: Session, show: Callable[[list[str]], tuple[int, str]], declined: int = 3) -> None:
    """Type everything; what is seen is the session's transcript."""
    for line, code in TYPED:
        words = line.format(**session.names()).split()
        found, seen = show(words)
        session.transcript.append(f"$ dogbreed {' '.join(words)}\n{seen}")
        assert found == (declined if line == "teardown" else code), session.transcript[-1]
        assert "Traceback" not in seen


def mask(text: str) -> str:
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def compare(name: str, transcript: list[str]) -> None:
    path, made = SNAPSHOTS / f"{name}.txt", mask("\n".join(transcript))
    if not path.exists():
        path.write_text(made, encoding="utf-8")
        pytest.fail(f"wrote {path}: read it and run again")
    kept = path.read_text(encoding="utf-8")
    difference = "".join(difflib.unified_diff(kept.splitlines(True), made.splitlines(True), "kept", "seen now"))
    assert not difference, f"tests/snapshots/{name}.txt is not what is seen:\n{difference}"


def too_wide(transcript: list[str], columns: int) -> list[str]:
    """Lines that the terminal had to break, but for what is there to be copied: a path, a URI, a command."""
    ours = [seen for seen in transcript if not seen.startswith("$ dogbreed logs")]  # which are another program's
    lines = [line for seen in ours for line in seen.splitlines()[1:] if len(line) > columns]
    return [line for line in lines if not re.search(r"\S{40}|dogbreed .*--|^ *dogbreed |^[\w -]+: +\S+$", line)]


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal(columns: int, session: Session) -> None:
    play(session, lambda words: session.on_terminal(words, columns))
    compare(f"terminal-{columns}", session.transcript)
    assert not too_wide(session.transcript, columns)


def test_without_a_terminal(session: Session) -> None:
    """A script, a log file: nothing is asked, nothing moves, each line is whole."""
    play(session, session.without_terminal, declined=2)
    compare("pipe", session.transcript)


def test_on_a_narrow_terminal_that_knows_ascii_alone_and_no_colours(session: Session) -> None:
    """Not all of them: what changes nothing, and an upload and a training for it to look at."""
    session.environment["NO_COLOR"] = "1"
    seen = []
    for line in ("upload dogImages", "train", "status --all", "report", "teardown --dry-run", "stauts", "check"):
        with open_terminal(40) as (path, raw):
            session.ask(line.split(), path, encoding="ascii")
        assert raw.isascii()
        assert not re.search(rb"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", raw), "a colour"
        seen.append(read_screen(raw.decode()))
    assert not [line for text in seen for line in too_wide([text], 40)]
    assert not [text for text in seen if "Traceback" in text]


def test_the_demo_shows_what_it_types(session: Session) -> None:
    """No snapshot: it follows jobs that run, so which line comes first differs from run to run."""
    code, seen = session.on_terminal(["demo"], 80)
    assert code == 0, seen
    assert "Traceback" not in seen
    assert not too_wide([f"$ dogbreed demo\n{seen}"], 80)
    typed = re.findall(r"^\$ dogbreed (\w+)", seen, re.MULTILINE)
    assert typed == ["upload", "tune", "train", "report", "deploy", "predict", "teardown", "status"]
    assert "nothing is running" in seen
    end = re.fullmatch(r".*\n1 of 6 pictures that no job had trained on [^\n]*\nreport: ([^\n]+)\n", seen, re.DOTALL)
    assert end and Path(end[1]).is_file()


def test_a_screen_is_read_as_it_is_seen() -> None:
    text = "one\r\n\x1b[1mtwo\x1b[0m\r\n\x1b[1A\x1b[2Kthree\rT\r\nx\x1b[?25h"
    assert read_screen(text) == "one\nThree\nx\n"
    assert read_screen("gone\r\n\x1b[1A\x1b[0J") == "\n"
    with open_terminal(80) as (path, raw):
        Path(path).write_text("seen")
    assert bytes(raw).endswith(b"seen")
