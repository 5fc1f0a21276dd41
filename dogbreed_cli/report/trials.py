"""The training jobs of a tuning job as rows: the original project's table, best first.

`commands/tune.py` shows it live while trials run, the report shows it at the end and writes it as trials.csv:

    batch-size  lr  TrainingJobName  TrainingJobStatus  FinalObjectiveValue  TrainingStartTime  ...
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from dogbreed_cli.report.job import decode_value, elapsed_seconds

# After one column for each tuned hyperparameter.
COLUMNS = (
    "TrainingJobName",
    "TrainingJobStatus",
    "FinalObjectiveValue",
    "TrainingStartTime",
    "TrainingEndTime",
    "TrainingElapsedTimeSeconds",
)


@dataclass(frozen=True)
class Trial:
    name: str
    status: str
    hyperparameters: Mapping[str, Any]
    objective: float | None
    started: datetime | None = None
    ended: datetime | None = None
    failure_reason: str | None = None

    @property
    def elapsed_seconds(self) -> float | None:
        """None while the trial runs."""
        return elapsed_seconds(self.started, self.ended)


@dataclass(frozen=True)
class Span:
    """What a hyperparameter could be: any number from `low` to `high`, or one of `choices`."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Tuning:
    """A tuning job: what it looked for and what it tried, best first."""

    name: str
    status: str
    strategy: str | None
    objective_metric: str | None
    objective_type: str
    trials: tuple[Trial, ...]
    ranges: Mapping[str, Span] = field(default_factory=dict)

    @property
    def best(self) -> Trial | None:
        return find_best(self.trials)


def read_tuning(description: Mapping[str, Any], summaries: Iterable[Mapping[str, Any] | Trial]) -> Tuning:
    """boto3's DescribeHyperParameterTuningJob and its HyperParameterTrainingJobSummaries."""
    config = description.get("HyperParameterTuningJobConfig") or {}
    objective = (
        config.get("HyperParameterTuningJobObjective")
        or (description.get("TrainingJobDefinition") or {}).get("TuningObjective")
        or {}
    )
    objective_type = objective.get("Type") or "Minimize"
    return Tuning(
        name=description.get("HyperParameterTuningJobName") or "unnamed tuning job",
        status=description.get("HyperParameterTuningJobStatus") or "Unknown",
        strategy=config.get("Strategy"),
        objective_metric=objective.get("MetricName"),
        objective_type=objective_type,
        trials=read_trials(summaries, objective_type),
        ranges=read_ranges(config.get("ParameterRanges") or {}),
    )


def read_ranges(ranges: Mapping[str, Any]) -> dict[str, Span]:
    """boto3's ParameterRanges."""
    found = {}
    for entry in (*ranges.get("ContinuousParameterRanges", ()), *ranges.get("IntegerParameterRanges", ())):
        low, high = float(entry["MinValue"]), float(entry["MaxValue"])
        found[entry["Name"]] = Span(low, high, entry.get("ScalingType") == "Logarithmic")
    for entry in ranges.get("CategoricalParameterRanges", ()):
        found[entry["Name"]] = Span(choices=tuple(map(decode_value, entry["Values"])))
    return found


def read_trials(summaries: Iterable[Mapping[str, Any] | Trial], objective_type: str = "Minimize") -> tuple[Trial, ...]:
    """boto3's HyperParameterTrainingJobSummary dicts, best first; those without an objective come last, as started."""
    trials = [summary if isinstance(summary, Trial) else read_trial(summary) for summary in summaries]
    sign = -1 if objective_type == "Maximize" else 1

    def rank(trial: Trial) -> tuple[Any, ...]:
        began = trial.started.timestamp() if trial.started else math.inf
        return (trial.objective is None, sign * (trial.objective or 0.0), began, trial.name)

    return tuple(sorted(trials, key=rank))


def read_trial(summary: Mapping[str, Any]) -> Trial:
    value = (summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}).get("Value")
    return Trial(
        name=summary.get("TrainingJobName") or "unnamed training job",
        status=summary.get("TrainingJobStatus") or "Unknown",
        hyperparameters={
            name: decode_value(text) for name, text in sorted((summary.get("TunedHyperParameters") or {}).items())
        },
        # A loss that exploded to nan is no objective: it would stand anywhere in the order.
        objective=float(value) if value is not None and math.isfinite(value) else None,
        started=summary.get("TrainingStartTime"),
        ended=summary.get("TrainingEndTime"),
        failure_reason=summary.get("FailureReason") or None,
    )


def find_best(trials: Sequence[Trial]) -> Trial | None:
    """The first of trials that are sorted best first, None where no trial has an objective yet."""
    return trials[0] if trials and trials[0].objective is not None else None


def columns(trials: Iterable[Trial]) -> tuple[str, ...]:
    """The table's head: the hyperparameters that any trial tuned, in the order of the alphabet, then `COLUMNS`."""
    return (*sorted({name for trial in trials for name in trial.hyperparameters}), *COLUMNS)


def as_row(trial: Trial) -> dict[str, Any]:
    """One line of the table by column: numbers as numbers, times as aware datetimes, None for what is not there yet."""
    return {
        **trial.hyperparameters,
        "TrainingJobName": trial.name,
        "TrainingJobStatus": trial.status,
        "FinalObjectiveValue": trial.objective,
        "TrainingStartTime": trial.started,
        "TrainingEndTime": trial.ended,
        "TrainingElapsedTimeSeconds": trial.elapsed_seconds,
    }


def to_csv(trials: Sequence[Trial]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(trials), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_row(trial) for trial in trials)
    return text.getvalue()
