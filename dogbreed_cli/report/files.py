"""A report -> a folder: report.html, metrics.json and the CSV files, each written beside and renamed.

All six are written each time, empty tables with their head line only: in a folder that held an earlier report nothing
of that one may stay behind and be taken for this one's.
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.report import trials
from dogbreed_cli.report.artifacts import Epoch, Prediction, column_names
from dogbreed_cli.report.metrics import ClassScore
from dogbreed_cli.report.page import render
from dogbreed_cli.report.report import Report, to_json


def write(report: Report, folder: Path) -> dict[str, Path]:
    """The paths by file name, the page first. Raises DogbreedError when the folder cannot be written."""
    # Everything is computed before anything is touched.
    texts = {
        "report.html": render(report),
        "metrics.json": json.dumps(to_json(report), ensure_ascii=False, allow_nan=False) + "\n",
        "history.csv": to_csv(Epoch, report.epochs),
        "trials.csv": trials.to_csv(report.tuning.trials if report.tuning else ()),
        "per_class.csv": to_csv(ClassScore, report.evaluation.per_class if report.evaluation else ()),
        "predictions.csv": to_csv(Prediction, report.predictions),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {name: write_file(folder / name, text) for name, text in texts.items()}
    except OSError as error:
        raise DogbreedError(
            f"The report cannot be written to {folder}.",
            f"{error.strerror or error}.",
            "Free space or rights there, or name another folder with --output.",
        ) from error


def write_file(path: Path, text: str) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        beside.write_text(text, encoding="utf-8", newline="")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def to_csv(row: type, rows: Iterable[Any]) -> str:
    return write_csv(column_names(row), (astuple(line) for line in rows))


def write_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
