"""What `entrypoints/train.py` left in output.tar.gz, read into typed rows: metrics.json, history.csv and
predictions.csv.

Any of them may be missing or cut off, since jobs fail and are stopped; that is said in `Artifacts.problems`, not
raised: a report on a failed job is worth as much as one on a good one.
"""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

METRICS_SCHEMA = 1

Row = TypeVar("Row")


@dataclass(frozen=True)
class Epoch:
    """One line of history.csv. A loss that exploded is nan, a number that was never measured too."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass(frozen=True)
class Prediction:
    """One line of predictions.csv. `label_rank` is 1 when the right class came first."""

    split: str
    file: str
    label: str
    prediction: str
    probability: float
    label_probability: float
    label_rank: int


@dataclass(frozen=True)
class Training:
    """metrics.json. `metrics` holds what the job measured itself under SageMaker's names, e.g. `test:accuracy`."""

    classes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    best_epoch: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    debugger: Mapping[str, Any] = field(default_factory=dict)
    backbone: str | None = None
    weights: str | None = None
    calibrated: bool | None = None
    # How many images of each class were trained on.
    label_counts: Mapping[str, int] = field(default_factory=dict)
    profiler: Mapping[str, Any] = field(default_factory=dict)
    # Which cached features were read; empty for a job that read images.
    features: Mapping[str, Any] = field(default_factory=dict)
    world_size: int | None = None
    resumed_from_epoch: int | None = None
    stopped: bool = False
    stopped_early: str = ""
    git_commit: str | None = None


@dataclass(frozen=True)
class Artifacts:
    training: Training | None
    epochs: tuple[Epoch, ...]
    predictions: tuple[Prediction, ...]
    problems: tuple[str, ...]


def read_artifacts(folder: Path) -> Artifacts:
    problems: list[str] = []
    return Artifacts(
        training=read_training(folder / "metrics.json", problems),
        epochs=read_rows(folder / "history.csv", parse_epoch, problems),
        predictions=read_rows(folder / "predictions.csv", parse_prediction, problems),
        problems=tuple(problems),
    )


def read_training(path: Path, problems: list[str]) -> Training | None:
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problems.append(f"{path.name} cannot be read ({error}).")
        return None
    if not isinstance(document, dict):
        problems.append(f"{path.name} does not hold a JSON object.")
        return None
    if document.get("schema_version") != METRICS_SCHEMA:
        problems.append(
            f"{path.name} has schema_version {document.get('schema_version')!r}, this report reads {METRICS_SCHEMA}: "
            "some of it may be missing here."
        )

    def take(key: str, kind: type, default: Any) -> Any:
        value = document.get(key)
        if value is None:
            return default
        if isinstance(value, kind):
            return value
        problems.append(f"{path.name}: {key} is not a JSON {kind.__name__} and was left out.")
        return default

    return Training(
        classes=tuple(map(str, take("classes", list, []))),
        counts=keep_numbers(take("counts", dict, {})),
        best_epoch=take("best_epoch", int, None),
        metrics=keep_numbers({key: value for key, value in document.items() if ":" in key}),
        phases=keep_numbers(take("phases", dict, {})),
        hyperparameters=take("hyperparameters", dict, {}),
        versions=take("versions", dict, {}),
        debugger=take("debugger", dict, {}),
        backbone=take("backbone", str, None),
        weights=take("weights", str, None),
        calibrated=take("calibrated", bool, None),
        label_counts=keep_numbers(take("label_counts", dict, {})),
        profiler=take("profiler", dict, {}),
        features=take("features", dict, {}),
        world_size=take("world_size", int, None),
        resumed_from_epoch=take("resumed_from_epoch", int, None),
        stopped=take("stopped", bool, False),
        stopped_early=take("stopped_early", str, ""),
        git_commit=take("git_commit", str, None),
    )


def keep_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was never measured: train.py writes null for the test metrics of a job with no test channel."""
    return {key: value for key, value in values.items() if isinstance(value, int | float)}


def read_rows(path: Path, parse: Callable[[dict[str, str]], Row], problems: list[str]) -> tuple[Row, ...]:
    if not path.is_file():
        return ()
    rows: list[Row] = []
    bad: list[int] = []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            for line in reader:
                # The last line of a job that was killed may be half a line.
                try:
                    rows.append(parse(line))
                except (KeyError, TypeError, ValueError):
                    bad.append(reader.line_num)
    except (OSError, ValueError, csv.Error) as error:
        problems.append(f"{path.name} cannot be read to its end ({error}).")
    if bad:
        problems.append(f"{path.name}: {len(bad)} line(s) left out that cannot be read, the first is line {bad[0]}.")
    return tuple(rows)


def parse_epoch(line: dict[str, str]) -> Epoch:
    numbers = {name: float(line[name] or "nan") for name in column_names(Epoch)[1:]}
    return Epoch(epoch=int(line["epoch"]), **numbers)


def parse_prediction(line: dict[str, str]) -> Prediction:
    if None in line.values():
        raise ValueError("half a line")
    return Prediction(
        split=line["split"],
        file=line["file"],
        label=line["label"],
        prediction=line["prediction"],
        probability=float(line["probability"]),
        label_probability=float(line["label_probability"]),
        label_rank=int(line["label_rank"]),
    )


def column_names(row: type) -> list[str]:
    return [column.name for column in fields(row)]
