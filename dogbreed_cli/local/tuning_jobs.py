"""CreateHyperParameterTuningJob and its fellows: records of tuning jobs. Their trials are run by tuning.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from dogbreed_cli.local import training_jobs, worker
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import arn
from dogbreed_cli.local.listing import list_page, not_found, refuse_others
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.training_jobs import TrainingJobs

KIND = "hyper-parameter-tuning-job"
ENDED = ("Completed", "Failed", "Stopped")
BEST_MEMBERS = (
    "TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime", "TrainingEndTime", "TrainingJobStatus",
    "TunedHyperParameters", "FinalHyperParameterTuningJobObjectiveMetric", "ObjectiveStatus",
)  # fmt: skip


class TuningJobs(TrainingJobs):
    def create_hyper_parameter_tuning_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name, now = request["HyperParameterTuningJobName"], time.time()
        check_tuning_request(request)
        for parent in request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", []):
            check_parent(self.settled_tuning_job(parent["HyperParameterTuningJobName"]), request)
        record = {
            **request,
            "HyperParameterTuningJobArn": arn("hyper-parameter-tuning-job", name),
            "HyperParameterTuningJobStatus": "InProgress",
            "Strategy": request["HyperParameterTuningJobConfig"]["Strategy"],
            "ResourceLimits": request["HyperParameterTuningJobConfig"]["ResourceLimits"],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        with worker.claim(self.home, tuning_folder(name)) as lock:
            try:
                if lock is None:
                    raise FileExistsError(name)
                self.records.create(KIND, name, record)
            except FileExistsError:
                raise AwsError(
                    "ResourceInUse", "Hyperparameter tuning job names must be unique within an AWS account and region"
                ) from None
            worker.start(self.home, "tuning", name, lock)
        return {"HyperParameterTuningJobArn": record["HyperParameterTuningJobArn"]}

    def describe_hyper_parameter_tuning_job(self, request: Mapping[str, Any]) -> Record:
        return self.with_progress(self.settled_tuning_job(request["HyperParameterTuningJobName"]))

    def with_progress(self, record: Record) -> Record:
        trials = trials_of(self.records, record["HyperParameterTuningJobName"])
        settled = [self.settled_training_job(trial["TrainingJobName"]) for trial in trials]
        return {**record, **count_trials(settled), **best_of(settled, record)}

    def list_hyper_parameter_tuning_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        settled = [self.settled_tuning_job(name) for name in self.records.names(KIND)]
        summaries, name = "HyperParameterTuningJobSummaries", "HyperParameterTuningJobName"
        page = list_page(settled, request, summaries, name, "HyperParameterTuningJobStatus", sort_by="Name")
        return {**page, summaries: [self.with_progress(record) for record in page[summaries]]}

    def list_training_jobs_for_hyper_parameter_tuning_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["HyperParameterTuningJobName"]
        self.settled_tuning_job(name)
        trials = [self.settled_training_job(r["TrainingJobName"]) for r in trials_of(self.records, name)]
        if request.get("SortBy") == "FinalObjectiveMetricValue":  # AWS leaves out the trials that have none.
            trials = [trial for trial in trials if objective(trial) is not None]
        status, by = "TrainingJobStatus", {"FinalObjectiveMetricValue": objective}
        return list_page(trials, request, "TrainingJobSummaries", "TrainingJobName", status, sort_by="Name", by=by)

    def stop_hyper_parameter_tuning_job(self, request: Mapping[str, Any]) -> None:
        name = request["HyperParameterTuningJobName"]
        if self.settled_tuning_job(name)["HyperParameterTuningJobStatus"] in ENDED:
            raise AwsError("ValidationException", "The request was rejected because the tuning job has ended.")
        self.records.update(KIND, name, ask_to_stop)

    def settled_tuning_job(self, name: str) -> Record:
        """The record, after a job whose worker was killed has been ended as Failed and its trials stopped."""
        record = self.records.read(KIND, name)
        if record is None:
            raise not_found("tuning job", name)
        if record["HyperParameterTuningJobStatus"] in ENDED:
            return record
        with worker.claim(self.home, tuning_folder(name)) as lock:
            if lock is None:
                return record
            for trial in trials_of(self.records, name):
                self.records.update(training_jobs.KIND, trial["TrainingJobName"], training_jobs.ask_to_stop)
            reason = "InternalServerError: the tuning job's worker process on this machine was killed."
            return self.records.update(KIND, name, lambda r: end(r, "Failed", reason)) or record


def tuning_folder(name: str) -> str:
    """Below jobs/. A training job may have the same name as a tuning job; a dot can be in neither."""
    return f"tuning.{name}"


def check_tuning_request(request: Mapping[str, Any]) -> None:
    """What AWS would refuse at once, and what this machine cannot do. Raises ValidationException."""
    refuse_others(
        request,
        {
            "HyperParameterTuningJobName",
            "HyperParameterTuningJobConfig",
            "TrainingJobDefinition",
            "WarmStartConfig",
            "Tags",
        },
    )
    config = request["HyperParameterTuningJobConfig"]
    refuse_others(
        config,
        {"Strategy", "StrategyConfig", "HyperParameterTuningJobObjective", "ResourceLimits", "ParameterRanges",
         "TrainingJobEarlyStoppingType", "TuningJobCompletionCriteria", "RandomSeed"},
        "HyperParameterTuningJobConfig.",
    )  # fmt: skip
    refuse_others(
        config.get("TuningJobCompletionCriteria", {}),
        {"TargetObjectiveMetricValue", "BestObjectiveNotImproving"},
        "TuningJobCompletionCriteria.",
    )
    definition = request.get("TrainingJobDefinition")
    if definition is None or "HyperParameterTuningJobObjective" not in config:
        raise AwsError(
            "ValidationException", "TrainingJobDefinition and HyperParameterTuningJobObjective are required."
        )
    training_jobs.check_training_request(trial_request(definition, "trial", {}))
    metrics = {metric["Name"] for metric in definition["AlgorithmSpecification"].get("MetricDefinitions", [])}
    wanted = config["HyperParameterTuningJobObjective"]["MetricName"]
    if wanted not in metrics:
        raise AwsError(
            "ValidationException",
            f"The objective metric [{wanted}] is not in the metric definitions {sorted(metrics)}.",
        )
    names = check_ranges(config.get("ParameterRanges", {}), config["Strategy"])
    if clash := names & set(definition.get("StaticHyperParameters", {})):
        raise AwsError("ValidationException", f"Hyperparameters are both static and tuned: {sorted(clash)}.")
    if config["Strategy"] != "Grid" and "MaxNumberOfTrainingJobs" not in config["ResourceLimits"]:
        raise AwsError("ValidationException", "MaxNumberOfTrainingJobs is required unless the strategy is Grid.")
    if config["Strategy"] == "Hyperband" and config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise AwsError(
            "ValidationException", "TrainingJobEarlyStoppingType must be Off when the strategy is Hyperband."
        )


def check_ranges(ranges: Mapping[str, Any], strategy: str) -> set[str]:
    """The names of what is tuned. Raises ValidationException."""
    kinds = ("CategoricalParameterRanges", "IntegerParameterRanges", "ContinuousParameterRanges")
    refuse_others(ranges, kinds, "ParameterRanges.")
    names = [entry["Name"] for kind in kinds for entry in ranges.get(kind, [])]
    if not names:
        raise AwsError("ValidationException", "At least one hyperparameter range is required.")
    if len(names) != len(set(names)):
        raise AwsError("ValidationException", f"Hyperparameters have several ranges: {names}.")
    for kind, number in (("IntegerParameterRanges", int), ("ContinuousParameterRanges", float)):
        for entry in ranges.get(kind, []):
            if strategy == "Grid":
                raise AwsError("ValidationException", "Grid search strategy only supports categorical parameters.")
            check_range(entry, number)
    return set(names)


def check_range(entry: Mapping[str, Any], number: Callable[[str], float]) -> None:
    name, scaling = entry["Name"], entry.get("ScalingType", "Auto")
    try:
        low, high = number(entry["MinValue"]), number(entry["MaxValue"])
    except ValueError:
        raise AwsError("ValidationException", f"The range of {name} is not of numbers of its kind: {entry}.") from None
    if not low < high:
        raise AwsError("ValidationException", f"MinValue of {name} must be less than its MaxValue: {low}, {high}.")
    if scaling == "Logarithmic" and low <= 0:
        raise AwsError("ValidationException", f"Logarithmic scaling of {name} needs a range above 0.")
    if scaling == "ReverseLogarithmic" and (number is int or low < 0 or high >= 1):
        message = f"Reverse logarithmic scaling of {name} needs a continuous range within 0 <= x < 1.0."
        raise AwsError("ValidationException", message)


def check_parent(parent: Record, request: Mapping[str, Any]) -> None:
    name = parent["HyperParameterTuningJobName"]
    if parent["HyperParameterTuningJobStatus"] not in ENDED:
        raise AwsError("ValidationException", f"The parent tuning job {name} has not ended yet.")
    theirs, ours = (
        job["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"] for job in (parent, request)
    )
    if theirs != ours:
        message = f"The parent tuning job {name} has another objective metric: {theirs}, not {ours}."
        raise AwsError("ValidationException", message)


def trial_request(definition: Mapping[str, Any], name: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    """The training job that a tuning job's definition and one choice of hyperparameters ask for."""
    copied = {k: v for k, v in definition.items() if k not in ("StaticHyperParameters", "DefinitionName")}
    return {
        **copied,
        "TrainingJobName": name,
        "HyperParameters": {**definition.get("StaticHyperParameters", {}), **chosen},
    }


def trials_of(records: Records, name: str) -> list[Record]:
    wanted = arn("hyper-parameter-tuning-job", name)
    found = records.all(training_jobs.KIND, prefix=f"{name}-")
    return [record for record in found if record.get("TuningJobArn") == wanted]


def objective(trial: Record) -> float | None:
    return trial.get("FinalHyperParameterTuningJobObjectiveMetric", {}).get("Value")


def count_trials(trials: list[Record]) -> dict[str, Any]:
    """The counters of DescribeHyperParameterTuningJob."""

    def count(*statuses: str) -> int:
        return sum(trial["TrainingJobStatus"] in statuses for trial in trials)

    scored = sum(objective(trial) is not None for trial in trials)
    return {
        "TrainingJobStatusCounters": {
            "Completed": count("Completed"),
            "InProgress": count("InProgress", "Stopping"),
            "RetryableError": 0,
            "NonRetryableError": count("Failed"),
            "Stopped": count("Stopped"),
        },
        "ObjectiveStatusCounters": {"Succeeded": scored, "Pending": count("InProgress", "Stopping"),
                                    "Failed": len(trials) - scored - count("InProgress", "Stopping")},
    }  # fmt: skip


def best_of(trials: list[Record], record: Record) -> dict[str, Any]:
    """BestTrainingJob: of those that were completed. Empty while there is none."""
    completed = [trial for trial in trials if trial["TrainingJobStatus"] == "Completed"]
    scored = [(score, trial) for trial in completed if (score := objective(trial)) is not None]
    if not scored:
        return {}
    kind = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"]
    best = (min if kind == "Minimize" else max)(scored, key=itemgetter(0))[1]
    return {"BestTrainingJob": {member: best[member] for member in BEST_MEMBERS if member in best}}


def ask_to_stop(record: Record) -> None:
    if record["HyperParameterTuningJobStatus"] == "InProgress":
        record["HyperParameterTuningJobStatus"] = "Stopping"
        record["LastModifiedTime"] = time.time()


def end(record: Record, status: str, reason: str = "") -> None:
    """Enter a final status, once."""
    if record["HyperParameterTuningJobStatus"] in ENDED:
        return
    record["HyperParameterTuningJobStatus"] = status
    record["HyperParameterTuningEndTime"] = record["LastModifiedTime"] = time.time()
    if reason:
        record["FailureReason"] = reason[:1024]
