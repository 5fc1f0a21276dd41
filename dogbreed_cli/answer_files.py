"""The files that `predict` can write its answers to, as they come: CSV, or one JSON object a line.

An answer is written as soon as all before it are there, so the file has the order of the images whatever came first.
It is called FILE.tmp until all are there: a file of the name that was asked for is whole. What an error or Ctrl-C ends
keeps that name, for the answers that it has, and without one goes. Pipes and devices get the answers as they are.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from dogbreed_cli.answers import Answer
from dogbreed_cli.errors import UsageError
from dogbreed_cli.whole_files import find_target

Write = Callable[[int, Answer], None]
Form = Callable[[TextIO], Callable[[Answer], None]]


@contextmanager
def answer_file(path: Path | None, form: Form) -> Iterator[Write]:
    """Yields `write(place, answer)`; without a path it writes nothing. Raises UsageError, OSError."""
    if path is None:
        yield lambda place, answer: None
        return
    if not path.parent.is_dir():
        raise UsageError(f"no folder {path.parent}", fix="create it, or name another file")
    target = find_target(path)
    beside = target.with_name(target.name + ".tmp") if target else path
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
