"""The report: every number about one training job, computed once. Page, terminal, JSON and CSV show this object."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.report.activity import Activity, trace_activity
from dogbreed_cli.report.artifacts import Artifacts, Epoch, Prediction, Training, read_artifacts
from dogbreed_cli.report.cost import UNASKED, Cost, Rate, weigh
from dogbreed_cli.report.gallery import NOT_FETCHED, Thumbnail
from dogbreed_cli.report.gaps import check_numbers, explain_missing, explain_watching, metric_prefix
from dogbreed_cli.report.importance import Importance, measure_importance, why_no_importance
from dogbreed_cli.report.job import Job, read_job
from dogbreed_cli.report.metrics import Evaluation, Phase, evaluate, share_phases
from dogbreed_cli.report.series import Series, trace_tensors
from dogbreed_cli.report.trials import Trial, Tuning, as_row, read_tuning

if TYPE_CHECKING:
    from dogbreed_cli.report.aws_report import AwsRule
    from dogbreed_cli.report.profile import Profile
    from dogbreed_cli.report.rules import Observed, Verdict
    from dogbreed_cli.report.tensors import Tensors

SCHEMA_VERSION = 1

# Measured on the first of these that has predictions. Validation images chose the epoch: they flatter.
SPLITS = ("test", "valid", "validation")

# Below the folder of artifacts: what the hook, the profiler and AWS's rules wrote.
TENSORS, PROFILE, RULES = "debug-output", "profiler-output", "rule-output"

# In tables of their own (predictions.csv), or no numbers.
NOT_IN_JSON = {"predictions", "gallery"}


@dataclass(frozen=True)
class Report:
    """`missing` says for each part without data why it has none: no part of the page is ever silently empty."""

    created: datetime
    job: Job
    training: Training | None
    epochs: tuple[Epoch, ...]
    predictions: tuple[Prediction, ...]
    evaluation: Evaluation | None
    phases: tuple[Phase, ...]
    tuning: Tuning | None
    importance: Importance | None
    activity: Activity | None
    tensors: tuple[Series, ...]
    rules: tuple["Verdict", ...]
    aws_rules: tuple["AwsRule", ...]
    cost: Cost
    missing: Mapping[str, str]
    notes: tuple[str, ...]
    # The worst mistakes, by the file's name in predictions.csv.
    gallery: Mapping[str, Thumbnail] = field(default_factory=dict)

    @property
    def used_best(self) -> bool | None:
        """Whether the job was trained with the best trial's hyperparameters; None where no trial is the best."""
        best = self.tuning.best if self.tuning else None
        if best is None:
            return None
        given = self.job.hyperparameters
        return all(given.get(name) == value for name, value in best.hyperparameters.items())

    @property
    def hyperparameters(self) -> Mapping[str, Any]:
        """What the job was given; where SageMaker does not say, what the script says."""
        return self.job.hyperparameters or (self.training.hyperparameters if self.training else {})


def build(
    artifacts: Path,
    training_job: Mapping[str, Any],
    tuning_job: Mapping[str, Any] | None = None,
    trials: Iterable[Mapping[str, Any] | Trial] = (),
    rate: Rate = UNASKED,
    tags: Mapping[str, str] | None = None,
) -> Report:
    """From a folder with what output.tar.gz held (any file may be missing) and boto3's descriptions of the jobs.

    `training_job` is DescribeTrainingJob's answer, `tuning_job` DescribeHyperParameterTuningJob's and `trials` its
    HyperParameterTrainingJobSummaries; `rate` is the price of the job's instances, `tags` are the training job's.
    Nothing that a failed or stopped job lacks is an error.
    """
    from dogbreed_cli.report.aws_report import read_aws_report
    from dogbreed_cli.report.profile import read_profile
    from dogbreed_cli.report.rules import evaluate_rules
    from dogbreed_cli.report.tensors import read_tensors

    found = read_artifacts(artifacts)
    job = read_job(training_job, tags)
    tensors, profile = read_tensors(artifacts / TENSORS), read_profile(artifacts / PROFILE)
    aws_rules = read_aws_report(artifacts / RULES)
    evaluation = evaluate_best_split(found)
    phases = share_phases(found.training.phases) if found.training else ()
    tuning = read_tuning(tuning_job, trials) if tuning_job else None
    activity = trace_activity(profile)
    return Report(
        created=datetime.now(UTC),
        job=job,
        training=found.training,
        epochs=found.epochs,
        predictions=found.predictions,
        evaluation=evaluation,
        phases=phases,
        tuning=tuning,
        importance=measure_importance(tuning) if tuning and not why_no_importance(tuning) else None,
        activity=activity,
        tensors=trace_tensors(tensors),
        rules=evaluate_rules(observe(job, found, tensors, profile)),
        aws_rules=aws_rules,
        cost=weigh(job, rate),
        missing={
            **explain_missing(job, found, evaluation, bool(phases), tuning),
            **explain_watching(job, found, tensors, profile, activity),
            "gallery": NOT_FETCHED,
        },
        notes=(
            *found.problems,
            *tensors.problems,
            *profile.problems,
            *(rule.problem for rule in aws_rules if rule.problem),
            *check_numbers(found, evaluation),
        ),
    )


def observe(job: Job, found: Artifacts, tensors: "Tensors", profile: "Profile") -> "Observed":
    """What the rules look at."""
    from dogbreed_cli.report.rules import Observed

    training = found.training or Training()
    batch_size = {**training.hyperparameters, **job.hyperparameters}.get("batch-size")
    return Observed(
        epochs=found.epochs,
        tensors=tensors,
        profile=profile,
        label_counts=training.label_counts,
        # By what was sampled: a job on this machine names an instance type that it does not have.
        has_gpu=any(sample.type == "gpu" for sample in profile.samples),
        batch_size=batch_size if isinstance(batch_size, int) else None,
        phases=training.phases,
    )


def evaluate_best_split(found: Artifacts) -> Evaluation | None:
    classes = found.training.classes if found.training else ()
    for split in SPLITS:
        rows = [row for row in found.predictions if row.split == split]
        if rows:
            loss = found.training.metrics.get(f"{metric_prefix(split)}:loss") if found.training else None
            return evaluate(split, rows, classes, loss)
    return None


def to_json(report: Report) -> dict[str, Any]:
    """The report's numbers for `--json` and metrics.json: plain JSON values only, nan and infinity as null.

    Predictions other than the worst mistakes are left to predictions.csv.
    """
    document = {one.name: to_plain(getattr(report, one.name)) for one in fields(report) if one.name not in NOT_IN_JSON}
    document["job"]["spot_saving"] = report.job.spot_saving
    if report.tuning:
        document["tuning"]["trials"] = to_plain([as_row(trial) for trial in report.tuning.trials])
        document["tuning"]["best"] = to_plain(as_row(report.tuning.best)) if report.tuning.best else None
        document["tuning"]["used_best"] = report.used_best
    return {"schema_version": SCHEMA_VERSION, **document}


def to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    return value
