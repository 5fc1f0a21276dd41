"""A report -> a folder: report.html, metrics.json, MODEL_CARD.md, CSV files and one JSON file for each of AWS's rules,
each written beside and renamed.

Profiler rules lie in profiler-reports/<Rule>.json, as in AWS's rule-output/ProfilerReport-<number>/profiler-output/;
debugger rules, of which AWS keeps the status alone, in debugger-reports/ beside it in the same form.

All are written each time, empty tables with their head line only: in a folder that held an earlier report nothing of
that one may stay behind and be taken for this one's.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.report import trials
from dogbreed_cli.report.artifacts import Epoch, Prediction, column_names
from dogbreed_cli.report.comparison import Comparison, render_comparison
from dogbreed_cli.report.metrics import ClassScore
from dogbreed_cli.report.model_card import write_model_card
from dogbreed_cli.report.page import render
from dogbreed_cli.report.report import Report, to_json, to_plain
from dogbreed_cli.whole_files import write_text


def write(report: Report, folder: Path) -> dict[str, Path]:
    """The paths by file name, the page first. Raises DogbreedError when the folder cannot be written."""
    from dogbreed_cli.report.rules import to_aws_json

    # Everything is computed before anything is touched.
    texts = {
        "report.html": render(report),
        "metrics.json": to_json_text(to_json(report)),
        "history.csv": to_csv(Epoch, report.epochs),
        "trials.csv": trials.to_csv(report.tuning.trials if report.tuning else ()),
        "per_class.csv": to_csv(ClassScore, report.evaluation.per_class if report.evaluation else ()),
        "predictions.csv": to_csv(Prediction, report.predictions),
        "MODEL_CARD.md": write_model_card(report),
    }
    for verdict in report.rules:
        texts[f"{verdict.kind}-reports/{verdict.rule}.json"] = to_json_text(to_plain(to_aws_json(verdict)))
    return write_files(folder, texts)


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """compare.html and compare.json. Raises DogbreedError as `write`."""
    return write_files(
        folder,
        {"compare.html": render_comparison(comparison), "compare.json": to_json_text(to_plain(comparison))},
    )


def to_json_text(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def write_files(folder: Path, texts: Mapping[str, str]) -> dict[str, Path]:
    try:
        return {name: write_text(folder / name, text) for name, text in texts.items()}
    except OSError as error:
        raise DogbreedError(
            f"The report cannot be written to {folder}.",
            f"{error.strerror or error}.",
            "Free space or rights there, or name another folder with --output.",
        ) from error


def to_csv(row: type, rows: Iterable[Any]) -> str:
    names = column_names(row)
    return write_csv(names, map(attrgetter(*names), rows))


def write_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()
