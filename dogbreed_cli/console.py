"""What a person or a script sees: progress, notes and questions on stderr, the result on stdout (text or one JSON)."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.errors import Declined, DogbreedError, Interrupted, UsageError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.progress import Progress

SCHEMA_VERSION = 1
# Off a terminal rich would wrap tables at 80 columns; a log file or a pipe has no such edge.
PIPE_WIDTH = 200
# Between two columns of a table.
GAP = 2
# Between two lines of progress where there is no bar.
LINE_SECONDS = 5
# What is there to be copied stays in one piece: a terminal that has to break it does so without a line's end.
COMMAND = re.compile(r"`[^`\n]*`|(?<=: )dogbreed [^;\n]*")
LABEL = re.compile(r" *(?:[A-Za-z][\w -]*: {2,}|[A-Za-z][\w-]{0,10}: )")


class Console:
    def __init__(self, as_json: bool = False, verbosity: int = 0):
        self.as_json = as_json
        self.verbosity = verbosity
        self.document: dict[str, Any] | None = None

    @cached_property
    def stderr(self) -> RichConsole:
        return self.open_stream(stderr=True)

    @cached_property
    def stdout(self) -> RichConsole:
        return self.open_stream(stderr=False)

    def open_stream(self, stderr: bool) -> RichConsole:
        from rich.console import Console as RichConsole

        class Stream(RichConsole):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # rich itself would make it exit code 1, which says that something failed

        stream = sys.stderr if stderr else sys.stdout
        return Stream(
            stderr=stderr, width=None if stream.isatty() else PIPE_WIDTH, highlight=False, emoji=False, soft_wrap=False
        )

    def note(self, text: str) -> None:
        """A line about what goes on; silent with -q."""
        if self.verbosity >= 0:
            self.say(text)

    def detail(self, text: str) -> None:
        """A line for those who asked with -v."""
        if self.verbosity > 0:
            self.say(text, style="dim")

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}", style="yellow")

    def say(self, text: str, style: str | None = None) -> None:
        self.stderr.print(fit(text, self.stderr), style=style, markup=False, soft_wrap=True)

    def result(self, data: dict[str, Any], *human: RenderableType) -> None:
        """The command's answer: `data` for the one JSON document that `close` writes, or `human` as text now."""
        if self.as_json:
            self.document = to_json(data)
            return
        for part in human:
            text = fit(part, self.stdout) if isinstance(part, str) else None
            self.stdout.print(text or part, markup=False, soft_wrap=text is not None)

    def result_now(self, data: dict[str, Any], human: RenderableType) -> None:
        """The answer of a command that goes on after it: written at once, and not again by `close`."""
        self.result(data, human)
        if self.document is not None:
            self.write_json(self.document)
            self.document = None

    def show(self, renderable: RenderableType) -> None:
        """A table that is not yet the result: a plan."""
        self.stderr.print(renderable)

    def stream(self, text: str) -> None:
        """A part of a text result that is worth showing before the rest is there."""
        if not self.as_json:
            self.stdout.print(text, markup=False, soft_wrap=True)

    def write_json(self, data: dict[str, Any]) -> None:
        document = {"schema_version": SCHEMA_VERSION, **to_json(data)}
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:  # a file's name that is no text, or a terminal that is not UTF-8
            text = json.dumps(document, indent=2, allow_nan=False)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def close(self, error: DogbreedError | None = None) -> None:
        """The end of a command. A result that was followed by an error (a missed gate) is one document with it."""
        document = self.document
        if error is not None:
            self.error(error)
            said = {"error": error.what, "why": error.why, "fix": error.fix, "code": error.exit_code}
            document = {**(document or {}), **said}
        if self.as_json and document is not None:
            self.write_json(document)

    def error(self, error: DogbreedError) -> None:
        from rich.text import Text

        head = "" if isinstance(error, (Declined, Interrupted)) else "error: "
        text = Text(fit(f"{head}{error.what}", self.stderr))
        text.stylize("bold red", 0, len(head))
        if error.why:
            text.append(fit(f"\n  why: {error.why}", self.stderr))
        if error.fix:
            text.append(fit(f"\n  fix: {error.fix}", self.stderr), style="bold")
        self.stderr.print(text, soft_wrap=True)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something is created or removed. Raises Declined, or UsageError where nobody can answer."""
        if yes:
            return
        if not self.can_ask():
            raise UsageError(f"{question} Nobody is there to answer", "this is not a terminal", "say --yes")
        if self.ask(f"{question} [y/N]").lower() not in ("y", "yes"):
            raise Declined("nothing was changed", "you said no")

    def can_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def ask(self, question: str) -> str:
        """What was typed; "" for Enter alone, and for the end of the input."""
        self.stderr.print(f"{question} ", end="", markup=False, soft_wrap=True)
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):  # Ctrl-D: what is said next does not stand behind the question
            self.stderr.print()
        return answer.strip()

    @contextmanager
    def progress(self, label: str, unit: str = "B") -> Iterator[Callable[[int, int], None]]:
        """A bar on a terminal, else a line now and then. Yields `show(done, total)`, in bytes or in `unit`."""
        with self.progress_of_files(label, unit) as show:
            yield lambda done, total: show(done, total, "")

    @contextmanager
    def progress_of_files(self, label: str, unit: str = "B") -> Iterator[Callable[[int, int, str], None]]:
        """The same with a word beside the label: `show(done, total, "12 of 30 files")`."""
        if self.verbosity < 0:
            yield lambda done, total, beside: None
        elif self.stderr.is_terminal:
            with self.bar(unit) as bar:
                task = bar.add_task(label, total=None)
                yield lambda done, total, beside: bar.update(
                    task, completed=done, total=total, description=f"{label} {beside}".rstrip()
                )
        else:
            yield self.progress_by_lines(label, unit)

    def bar(self, unit: str) -> Progress:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        amounts = (DownloadColumn(), TransferSpeedColumn()) if unit == "B" else (MofNCompleteColumn(), TextColumn(unit))
        left = TimeRemainingColumn(elapsed_when_finished=True)
        return Progress(
            TextColumn("{task.description}"), BarColumn(), *amounts, left, console=self.stderr, transient=True
        )

    def progress_by_lines(self, label: str, unit: str) -> Callable[[int, int, str], None]:
        began = told = time.monotonic()

        def show(done: int, total: int, beside: str) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told >= LINE_SECONDS:
                told = now
                rate = done / (now - began)
                speed = f"{human_size(rate)}/s" if unit == "B" else f"{rate:.0f} {unit}/s"
                left = f", {human_time((total - done) / rate)} left" if rate else ""
                self.note(f"{f'{label} {beside}'.rstrip()}: {done / max(total, 1):.0%}, {speed}{left}")

        return show

    @contextmanager
    def live(self) -> Iterator[Callable[[RenderableType], None]]:
        """Something redrawn in place on a terminal. Elsewhere nothing: the caller notes changes as lines."""
        if self.verbosity < 0 or not self.stderr.is_terminal:
            yield lambda renderable: None
            return
        from rich.live import Live

        with Live(console=self.stderr, auto_refresh=False, transient=True) as live:
            yield lambda renderable: live.update(renderable, refresh=True)


def to_json(value: Any) -> Any:
    """Dataclasses, times and paths in JSON's terms. A number that JSON has no word for (a loss of nan) is null."""
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return to_json(asdict(value))
    if isinstance(value, datetime):
        return value.astimezone().isoformat(timespec="seconds")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def fit(text: str, stream: RichConsole) -> str:
    """On a terminal broken between words; what comes after a label (`  why: `) stands under its beginning."""
    if not stream.is_terminal:
        return text
    return "\n".join(fit_line(line, stream.width) if len(line) > stream.width else line for line in text.split("\n"))


def fit_line(line: str, width: int) -> str:
    import textwrap

    label = LABEL.match(line)
    if " " not in line[label.end() if label else 0 :]:
        return line  # a path or a URI, to be copied
    whole = COMMAND.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), line)
    indent = " " * (len(label[0]) if label else 2)
    broken = textwrap.fill(whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return broken.replace("\N{NO-BREAK SPACE}", " ")


def table(columns: list[str], rows: list[list[str]], title: str | None = None) -> RenderableType:
    """A plain table of text cells. Names stay whole where the terminal has room for them."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    by_column = list(zip(columns, *rows, strict=True))
    words = (max((len(word) for cell in cells for word in cell.split()), default=0) for cells in by_column)
    needed = sum(words) + GAP * (len(columns) - 1)

    class WholeWords(Table):
        def __rich_console__(self, console: Any, options: Any) -> Any:
            # Only here the width is known; where it is too little, rich would cut what it may not wrap.
            for column, cells in zip(self.columns, by_column, strict=True):
                column.no_wrap = needed <= options.max_width and not any(" " in cell for cell in cells)
            air = [""] if console.is_terminal else []  # a script's first line is the header
            yield from [*air, *super().__rich_console__(console, options), *air]

    drawn = WholeWords(box=SIMPLE_HEAD, title=title, title_justify="left", padding=(0, GAP - 1, 0, 0), show_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def human_size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
