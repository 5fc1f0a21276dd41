"""The report: every number about one training job, computed once. Page, terminal, JSON and CSV show this object."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dogbreed_cli.report.artifacts import Artifacts, Epoch, Prediction, Training, read_artifacts
from dogbreed_cli.report.cost import UNASKED, Cost, Rate, weigh
from dogbreed_cli.report.job import Job, read_job
from dogbreed_cli.report.metrics import Evaluation, Phase, evaluate, share_phases
from dogbreed_cli.report.trials import Trial, Tuning, as_row, read_tuning

SCHEMA_VERSION = 1

# Measured on the first of these that has predictions. Validation images chose the epoch: they flatter.
SPLITS = ("test", "valid", "validation")

# How far metrics.json may be from what predictions.csv gives before the report says so (its numbers are rounded).
TOLERANCE = 0.001


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
    cost: Cost
    missing: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def used_best(self) -> bool | None:
        """Whether the job was trained with the best trial's hyperparameters; None where no trial is the best."""
        best = self.tuning.best if self.tuning else None
        if best is None:
            return None
        given = self.job.hyperparameters
        return all(given.get(name) == value for name, value in best.hyperparameters.items())


def build(
    artifacts: Path,
    training_job: Mapping[str, Any],
    tuning_job: Mapping[str, Any] | None = None,
    trials: Iterable[Mapping[str, Any] | Trial] = (),
    rate: Rate = UNASKED,
) -> Report:
    """From a folder with what output.tar.gz held (any file may be missing) and boto3's descriptions of the jobs.

    `training_job` is DescribeTrainingJob's answer, `tuning_job` DescribeHyperParameterTuningJob's and `trials` its
    HyperParameterTrainingJobSummaries; `rate` is the price of the job's instances. Nothing that a failed or stopped
    job lacks is an error.
    """
    found = read_artifacts(artifacts)
    job = read_job(training_job)
    evaluation = evaluate_best_split(found)
    phases = share_phases(found.training.phases) if found.training else ()
    tuning = read_tuning(tuning_job, trials) if tuning_job else None
    return Report(
        created=datetime.now(UTC),
        job=job,
        training=found.training,
        epochs=found.epochs,
        predictions=found.predictions,
        evaluation=evaluation,
        phases=phases,
        tuning=tuning,
        cost=weigh(job, rate),
        missing=explain_missing(job, found, evaluation, phases, tuning),
        notes=(*found.problems, *check_numbers(found, evaluation)),
    )


def evaluate_best_split(found: Artifacts) -> Evaluation | None:
    classes = found.training.classes if found.training else ()
    for split in SPLITS:
        rows = [row for row in found.predictions if row.split == split]
        if rows:
            loss = found.training.metrics.get(f"{metric_prefix(split)}:loss") if found.training else None
            return evaluate(split, rows, classes, loss)
    return None


def metric_prefix(split: str) -> str:
    """The channel is called `valid`, its metrics `validation:...`."""
    return "test" if split == "test" else "validation"


def explain_missing(
    job: Job, found: Artifacts, evaluation: Evaluation | None, phases: tuple[Phase, ...], tuning: Tuning | None
) -> dict[str, str]:
    missing: dict[str, str] = {}

    def absent(file: str) -> str:
        # Not "because": the report sees that a job failed and that a file is missing, not that one caused the other.
        state = "" if job.status == "Completed" else f" The job's status is {job.status}."
        return f"{file} is not among the job's artifacts, or holds nothing that can be read.{state}"

    if tuning is None:
        missing["trials"] = (
            "No tuning job belongs to this report: the hyperparameters were given, not searched for. "
            "Search with dogbreed tune; show a search with dogbreed report --tuning-job NAME."
        )
    elif not tuning.trials:
        missing["trials"] = f"The tuning job {tuning.name} ({tuning.status}) has started no trial."
    elif tuning.best is None:
        missing["objective"] = f"None of the {len(tuning.trials)} trials has reported the objective metric."

    if not found.epochs:
        missing["curves"] = absent("history.csv")

    if evaluation is None:
        untested = (
            not found.training.counts.get("test")
            if found.training
            else job.channels is not None and "test" not in job.channels
        )
        if untested and not found.predictions:
            missing["evaluation"] = (
                "The job has no test channel and wrote no predictions for another split, so nothing says how good the "
                "model is on images it has not seen. Upload a folder that has test/ and train again."
            )
        elif found.predictions:
            splits = ", ".join(sorted({row.split for row in found.predictions}))
            missing["evaluation"] = f"predictions.csv has only the split(s) {splits}: none of them measures a model."
        else:
            missing["evaluation"] = absent("predictions.csv")
    else:
        images = f"the {evaluation.accuracy.total} {evaluation.split} images"
        if not evaluation.pairs:
            missing["pairs"] = f"No two classes were confused: every one of {images} was classified correctly."
        if not evaluation.mistakes:
            missing["mistakes"] = f"There is no mistake: every one of {images} was classified correctly."

    if found.training is None:
        missing["phases"] = missing["versions"] = absent("metrics.json")
    else:
        if not phases:
            missing["phases"] = "metrics.json names no phases."
        if not found.training.versions:
            missing["versions"] = "metrics.json names no versions."
    if not job.hyperparameters and not (found.training and found.training.hyperparameters):
        missing["hyperparameters"] = "Neither the training job nor metrics.json names a hyperparameter."
    if not job.transitions:
        missing["transitions"] = "The training job lists no secondary statuses."
    return missing


def check_numbers(found: Artifacts, evaluation: Evaluation | None) -> list[str]:
    """What a reader has to know before trusting a number."""
    notes = []
    if evaluation and evaluation.split != "test":
        notes.append(
            "There are no predictions for test images. Accuracy and all that follows from it were measured on the "
            "validation images, which also chose the best epoch: expect somewhat less on new images."
        )
    if evaluation and found.training:
        prefix = metric_prefix(evaluation.split)
        said = found.training.metrics.get(f"{prefix}:accuracy")
        if said is not None and not abs(said - evaluation.accuracy.value) <= TOLERANCE:
            notes.append(
                f"metrics.json says {prefix}:accuracy is {said:.4f}, predictions.csv gives "
                f"{evaluation.accuracy.value:.4f}. This report shows what predictions.csv gives."
            )
    if evaluation and evaluation.empty_classes:
        names = evaluation.empty_classes
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        notes.append(f"{len(names)} of {len(evaluation.per_class)} classes have no {evaluation.split} image: {listed}.")
    exploded = [row.epoch for row in found.epochs if not math.isfinite(row.train_loss)]
    if exploded:
        notes.append(
            f"The training loss is not a finite number from epoch {exploded[0]} on: "
            "the learning rate is probably too high."
        )
    if found.training and found.training.weights == "none":
        notes.append("The backbone has random weights: it has learnt nothing, so expect poor accuracy.")
    if found.training and found.training.debugger.get("hook") is False:
        why = found.training.debugger.get("why") or "no reason was recorded"
        notes.append(f"The debugger hook was not attached: {why}.")
    return notes


def to_json(report: Report) -> dict[str, Any]:
    """The report's numbers for `--json` and metrics.json: plain JSON values only, nan and infinity as null.

    Predictions other than the worst mistakes are left to predictions.csv.
    """
    document = {field: value for field, value in asdict(report).items() if field != "predictions"}
    document["job"]["spot_saving"] = report.job.spot_saving
    if report.tuning:
        document["tuning"]["trials"] = [as_row(trial) for trial in report.tuning.trials]
        document["tuning"]["best"] = as_row(report.tuning.best) if report.tuning.best else None
        document["tuning"]["used_best"] = report.used_best
    return {"schema_version": SCHEMA_VERSION, **to_plain(document)}


def to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    return value
