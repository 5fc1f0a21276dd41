"""What a report has no data for and why, and what a reader has to know before trusting a number."""

import math
from typing import TYPE_CHECKING

from dogbreed_cli.report.artifacts import Artifacts
from dogbreed_cli.report.importance import why_no_importance
from dogbreed_cli.report.job import Job
from dogbreed_cli.report.metrics import Evaluation
from dogbreed_cli.report.trials import Tuning

if TYPE_CHECKING:
    from dogbreed_cli.report.activity import Activity
    from dogbreed_cli.report.profile import Profile
    from dogbreed_cli.report.tensors import Tensors

# How far metrics.json may be from what predictions.csv gives before the report says so (its numbers are rounded).
TOLERANCE = 0.001


def metric_prefix(split: str) -> str:
    """The channel is called `valid`, its metrics `validation:...`."""
    return "test" if split == "test" else "validation"


def say_absent(file: str, job: Job) -> str:
    # Not "because": the report sees that a job failed and that a file is missing, not that one caused the other.
    state = "" if job.status == "Completed" else f" The job's status is {job.status}."
    return f"{file} is not among the job's artifacts, or holds nothing that can be read.{state}"


def explain_missing(
    job: Job, found: Artifacts, evaluation: Evaluation | None, phases: bool, tuning: Tuning | None
) -> dict[str, str]:
    """The reason by part of the page: no part is ever silently empty."""
    missing = {**explain_tuning(tuning), **explain_evaluation(job, found, evaluation)}
    if not found.epochs:
        missing["curves"] = say_absent("history.csv", job)
    if found.training is None:
        missing["phases"] = missing["versions"] = say_absent("metrics.json", job)
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


def explain_tuning(tuning: Tuning | None) -> dict[str, str]:
    if tuning is None:
        return {
            "trials": "No tuning job belongs to this report: the hyperparameters were given, not searched for. "
            "Search with dogbreed tune; show a search with dogbreed report --tuning-job NAME."
        }
    if not tuning.trials:
        return {"trials": f"The tuning job {tuning.name} ({tuning.status}) has started no trial."}
    if tuning.best is None:
        return {"objective": f"None of the {len(tuning.trials)} trials has reported the objective metric."}
    why = why_no_importance(tuning)
    return {"importance": why} if why else {}


def explain_evaluation(job: Job, found: Artifacts, evaluation: Evaluation | None) -> dict[str, str]:
    if evaluation is None:
        if was_not_tested(job, found) and not found.predictions:
            return {
                "evaluation": "The job has no test channel and wrote no predictions for another split, so nothing says "
                "how good the model is on images it has not seen. Upload a folder that has test/ and train again."
            }
        if found.predictions:
            splits = ", ".join(sorted({row.split for row in found.predictions}))
            return {"evaluation": f"predictions.csv has only the split(s) {splits}: none of them measures a model."}
        return {"evaluation": say_absent("predictions.csv", job)}
    missing = {}
    images = f"the {evaluation.accuracy.total} {evaluation.split} images"
    if not evaluation.pairs:
        missing["pairs"] = f"No two classes were confused: every one of {images} was classified correctly."
    if not evaluation.mistakes:
        missing["mistakes"] = f"There is no mistake: every one of {images} was classified correctly."
    if not evaluation.calibration:
        missing["calibration"] = f"None of {images} has a probability that is a number."
    return missing


def was_not_tested(job: Job, found: Artifacts) -> bool:
    """The script's own count first: a job on cached features has one channel for all splits."""
    if found.training:
        return not found.training.counts.get("test")
    return job.channels is not None and not {"test", "features"} & set(job.channels)


def explain_watching(
    job: Job, found: Artifacts, tensors: "Tensors", profile: "Profile", activity: "Activity | None"
) -> dict[str, str]:
    """Why the hook or the profiler left nothing: the script's own words before what the folders look like."""
    missing = {}
    told = found.training.debugger if found.training else {}
    if not tensors.points:
        missing["tensors"] = told.get("why") or tensors.why or say_absent("debug-output/", job)
    told = found.training.profiler if found.training else {}
    why = told.get("why") or profile.why or say_absent("profiler-output/", job)
    if not activity or not activity.lines:
        missing["activity"] = why
    if not activity or not activity.steps:
        missing["steps"] = why if activity is None else "The profiler's timeline has no steps."
    return {part: why[:1].upper() + why[1:] + ("" if why.endswith(".") else ".") for part, why in missing.items()}


def check_numbers(found: Artifacts, evaluation: Evaluation | None) -> list[str]:
    """What a reader has to know before trusting a number."""
    notes = check_evaluation(found, evaluation) if evaluation else []
    exploded = [row.epoch for row in found.epochs if not math.isfinite(row.train_loss)]
    if exploded:
        notes.append(
            f"The training loss is not a finite number from epoch {exploded[0]} on: "
            "the learning rate is probably too high."
        )
    training = found.training
    if training and training.weights == "none":
        notes.append("The backbone has random weights: it has learnt nothing, so expect poor accuracy.")
    if training and training.stopped:
        notes.append("The job was stopped before its last epoch, and saved the best model until then.")
    if training and training.debugger.get("hook") is False:
        why = training.debugger.get("why") or "no reason was recorded"
        notes.append(f"The debugger hook was not attached: {why}.")
    return notes


def check_evaluation(found: Artifacts, evaluation: Evaluation) -> list[str]:
    notes = []
    if evaluation.split != "test":
        notes.append(
            "There are no predictions for test images. Accuracy and all that follows from it were measured on the "
            "validation images, which also chose the best epoch: expect somewhat less on new images."
        )
    prefix = metric_prefix(evaluation.split)
    said = found.training.metrics.get(f"{prefix}:accuracy") if found.training else None
    if said is not None and not abs(said - evaluation.accuracy.value) <= TOLERANCE:
        notes.append(
            f"metrics.json says {prefix}:accuracy is {said:.4f}, predictions.csv gives "
            f"{evaluation.accuracy.value:.4f}. This report shows what predictions.csv gives."
        )
    if names := evaluation.empty_classes:
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        notes.append(f"{len(names)} of {len(evaluation.per_class)} classes have no {evaluation.split} image: {listed}.")
    return notes
