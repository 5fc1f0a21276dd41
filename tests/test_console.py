"""What a person and a program see: one JSON document, plain lines off a terminal, colours only where they belong."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dogbreed_cli.cli import BESIDE, cli
from dogbreed_cli.console import Console, human_size, human_time, table, to_json
from dogbreed_cli.errors import DogbreedError, Interrupted, QualityGateMissed, UsageError
from dogbreed_cli.report.wording import NOTHING, SPACE


@dataclass(frozen=True)
class Thing:
    name: str
    where: Path


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    return json.loads(capsys.readouterr().out, parse_constant=refuse)


# ---- JSON


def test_a_result_is_written_once_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.stream("a part of the text")
    console.result({"a": 1}, "text")
    assert capsys.readouterr().out == ""
    console.close()
    assert document(capsys) == {"schema_version": 1, "a": 1}


def test_a_result_and_the_error_after_it_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.result({"training_job": "j"}, "text")
    console.close(QualityGateMissed("too bad", "0.1 is below 0.9", "train longer"))
    assert document(capsys) == {
        "schema_version": 1,
        "training_job": "j",
        "error": "too bad",
        "why": "0.1 is below 0.9",
        "fix": "train longer",
        "code": 6,
    }


def test_without_a_result_there_is_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).close()
    assert capsys.readouterr().out == ""


def test_what_json_has_no_word_for(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    moment = datetime(2026, 11, 22, 19, 43, tzinfo=UTC)
    data = {"loss": [float("nan"), float("inf"), 1.5], "things": (Thing("a", Path("b")),), "at": moment, 1: True}
    console.result(data)
    console.close()
    found = document(capsys)
    assert found["loss"] == [None, None, 1.5]
    assert found["things"] == [{"name": "a", "where": "b"}]
    assert datetime.fromisoformat(found["at"]) == moment
    assert found["1"] is True


def test_what_has_no_json_form_is_a_bug_at_once() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        Console(as_json=True).result({"a": object()})
    with pytest.raises(TypeError):
        to_json({1, 2})


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_name_can_be_written_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["Löwchen", "柴犬", os.fsdecode(b"\xff.jpg")]
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    Console().write_json({"names": names})
    stream.flush()
    assert json.loads(stream.buffer.getvalue())["names"] == names  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "25.0\N{NO-BREAK SPACE}% \N{EN DASH} \N{MINUS SIGN}1 2\N{MULTIPLICATION SIGN}3 L\xf6wchen \\udcff"),
        ("latin-1", "25.0\N{NO-BREAK SPACE}% - -1 2\N{MULTIPLICATION SIGN}3 L\xf6wchen \\udcff"),
        ("ascii", r"25.0 % - -1 2x3 L\xf6wchen \udcff"),
    ],
)
def test_what_an_output_has_no_character_for_is_spelt(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"25.0{SPACE}% {NOTHING} \N{MINUS SIGN}1 2\N{MULTIPLICATION SIGN}3 L\xf6wchen \udcff"

    @click.command
    @click.pass_obj
    def say(app: Any) -> None:
        app.console.note(text)
        app.console.result({}, text, table([text], [[text]]))

    monkeypatch.setitem(BESIDE, "say", "Only in this test.")
    monkeypatch.setitem(sys.modules, "dogbreed_cli.commands.say", type(sys)("say"))
    monkeypatch.setattr(sys.modules["dogbreed_cli.commands.say"], "say", say, raising=False)
    result = CliRunner(charset=encoding).invoke(cli, ["say"])
    assert result.exit_code == 0
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert [lines[0], lines[1], lines[3], result.stderr.strip()] == [shown] * 4


# ---- text


def test_stdout_is_the_result_and_stderr_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.note("a note")
    console.warn("careful")
    console.detail("a detail")
    console.result({"a": 1}, "the result")
    console.close()
    out, err = capsys.readouterr()
    assert (out, err) == ("the result\n", "a note\nwarning: careful\n")


def test_verbosity(capsys: pytest.CaptureFixture[str]) -> None:
    quiet, verbose = Console(verbosity=-1), Console(verbosity=1)
    quiet.note("a note")
    with quiet.progress("Sending") as show:
        show(1, 1)
    with quiet.live() as redraw:
        redraw("text")
    assert capsys.readouterr() == ("", "")
    verbose.detail("a detail")
    assert capsys.readouterr().err == "a detail\n"


def test_an_error_is_three_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Console().close(UsageError("what", "why", "fix"))
    assert capsys.readouterr() == ("", "error: what\n  why: why\n  fix: fix\n")
    Console(verbosity=-1).close(DogbreedError("what"))
    assert capsys.readouterr() == ("", "error: what\n")
    Console().close(Interrupted("detached", "Ctrl-C"))
    assert capsys.readouterr() == ("", "detached\n  why: Ctrl-C\n")


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Group

    name = "[red]dog[/red] :dog: [/]"
    console = Console()
    for say in (console.note, console.warn, console.stream):
        say(name)
    console.result({}, Group(table(["name"], [[name]]), name))
    console.close(DogbreedError(name, name, name))
    out, err = capsys.readouterr()
    assert (out.count(name), err.count(name)) == (3, 5)


def test_off_a_terminal_lines_are_not_wrapped_and_progress_is_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console()
    with console.progress("Sending") as show:
        show(1, 2)  # too early for a line
    monkeypatch.setattr("dogbreed_cli.console.LINE_SECONDS", 0)
    console.note("word " * 100)
    with console.progress("Sending") as show:
        for done in (1, 5, 10):
            show(done, 10)
    with console.live() as redraw:
        redraw("never seen")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "word " * 100
    said = [re.fullmatch(r"Sending: (\d+)%, [\d.]+ \w?B/s, [\d.]+ s left", line) for line in lines[1:]]
    assert [found and found[1] for found in said] == ["10", "50", "100"]


def test_progress_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("Sending") as show:
        show(0, 0)
    assert capsys.readouterr().err == ""


def test_nobody_to_ask_names_the_flag() -> None:
    with pytest.raises(UsageError, match="--yes") as caught:
        Console().confirm("Remove these 3?", yes=False)
    assert caught.value.exit_code == 2
    Console().confirm("Remove these 3?", yes=True)


def test_after_ctrl_d_the_next_line_begins_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert Console().ask("region?") == ""
    assert capsys.readouterr().err == "region? \n"


# ---- a terminal


def on_a_terminal(program: str, answer: str = "", **environment: str) -> tuple[str, int]:
    """What a Python program shows on a terminal of its own, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        cleaned = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "CI")}
        os.execve(sys.executable, [sys.executable, "-c", program], {**cleaned, "TERM": "xterm-256color", **environment})
    os.write(terminal, answer.encode())
    said = bytearray()
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the other side has closed
            break
        if not part:
            break
        said += part
    os.close(terminal)
    return said.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


WARN = "from dogbreed_cli.console import Console; Console().warn('careful')"
ASK = """
from dogbreed_cli.console import Console
from dogbreed_cli.errors import Declined
try:
    Console().confirm("Remove these [3]?", False)
    print("removed")
except Declined:
    raise SystemExit(3)
"""


def test_colours_only_where_they_are_wanted() -> None:
    assert "\x1b[" in on_a_terminal(WARN)[0]
    assert "\x1b[" not in on_a_terminal(WARN, NO_COLOR="1")[0]


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 3), ("\n", 3), ("yess\n", 3)])
def test_a_person_is_asked(answer: str, code: int) -> None:
    said, ended = on_a_terminal(ASK, answer)
    assert "Remove these [3]? [y/N]" in said
    assert ended == code
    assert ("removed" in said) == (code == 0)


# ---- numbers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (59.7, "1 min 00 s"), (3599, "59 min 59 s"), (7260, "2 h 01 min")],
)
def test_times(seconds: float, text: str) -> None:
    assert human_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")]
)
def test_sizes(size: float, text: str) -> None:
    assert human_size(size) == text
