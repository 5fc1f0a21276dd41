"""The files that `predict` can write its answers to, as they come: CSV, or one JSON object a line.

An answer is written as soon as all before it are there, so the file has the order of the images whatever came first.
It is called FILE.tmp until all are there: a file of the name that was asked for is whole. What an error or Ctrl-C ends
keeps that name, for the answers that it has, and without one goes. Pipes and devices get the answers as they are.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from dogbreed_cli.answers import Answer
from dogbreed_cli.errors import UsageError
from dogbreed_cli.whole_files import find_target

Write = Callable[[int, Answer], None]
Form = Callable[[TextIO], Callable[[Answer], None]]


def check_files(*paths: Path | None) -> set[str]:
    """All files that will be written. Raises UsageError where one cannot be, or two are one."""
    written = set[str]()
    for target in [target for path in paths if path and (target := find_target(path))]:
        if not target.parent.is_dir():
            raise UsageError(f"no folder {target.parent}", fix="create it, or name another file")
        files = {os.path.realpath(file) for file in (target, name_beside(target))}
        if files & written:
            raise UsageError(f"{target} would be written twice at once", fix="name two files for --csv and --jsonl")
        written |= files
    return written


def check_pictures(written: set[str], names: Iterable[str]) -> None:
    """Raises UsageError where a picture would be overwritten, whatever path leads to it."""
    taken = {found for file in written if (found := identify(file))}
    for name in names if taken else ():
        if identify(name) in taken:
            raise UsageError(f"{name} would be overwritten with the answers", fix="name another file for them")


def identify(name: str) -> tuple[int, int] | None:
    """What tells a file from all others; None where there is none, as of a URL."""
    try:
        found = os.stat(name)  # noqa: PTH116 - of 100,000 files, perhaps
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def name_beside(target: Path) -> Path:
    return target.with_name(target.name + ".tmp")


@contextmanager
def answer_file(path: Path | None, form: Form) -> Iterator[Write]:
    """Yields `write(place, answer)`; without a path it writes nothing. Raises OSError."""
    if path is None:
        yield lambda place, answer: None
        return
    target = find_target(path)
    beside = name_beside(target) if target else path
    answered = False

    def write(answer: Answer) -> None:
        nonlocal answered
        write_one(answer)
        answered = True

    try:
        # A name that is no text, which Python has as surrogates, is written with the bytes that it has.
        with beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            write_one = form(file)
            yield in_order(write)
    except BaseException:
        if target and not answered:
            beside.unlink(missing_ok=True)
        raise
    if target:
        beside.replace(target)


def in_order(write: Callable[[Answer], None]) -> Write:
    """Holds back what came before its turn."""
    waiting: dict[int, Answer] = {}
    turn = 0

    def take(place: int, answer: Answer) -> None:
        nonlocal turn
        waiting[place] = answer
        while turn in waiting:
            write(waiting.pop(turn))
            turn += 1

    return take


def as_csv(file: TextIO) -> Callable[[Answer], None]:
    """One line an image and class; an image that failed has one line with its error."""
    writer = csv.writer(file)
    writer.writerow(["image", "rank", "label", "probability", "error"])

    def write(answer: Answer) -> None:
        for rank, one in enumerate(answer.predictions, 1):
            writer.writerow([answer.image, rank, one["label"], one["probability"], ""])
        if answer.error:
            writer.writerow([answer.image, "", "", "", answer.error])

    return write


def as_json_lines(file: TextIO) -> Callable[[Answer], None]:
    """One line an image, with the members that it has in the document of --json."""
    return lambda answer: print(json.dumps(asdict(answer)), file=file, flush=True)
