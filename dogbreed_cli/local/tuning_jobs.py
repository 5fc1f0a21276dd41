"""CreateHyperParameterTuningJob and its fellows: records of tuning jobs. Their trials are run by tuning.py."""

from __future__ import annotations

import time
from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from dogbreed_cli.local import training_jobs, worker
from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.home import arn
from dogbreed_cli.local.listing import list_page, not_found
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.training_jobs import ENDED, TrainingJobs
from dogbreed_cli.local.tuning_request import check_parent, check_tuning_request

KIND = "hyper-parameter-tuning-job"
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
        seconds = record.get("HyperParameterTuningEndTime", time.time()) - record["CreationTime"]
        progress = {**count_trials(settled), "ConsumedResources": {"RuntimeInSeconds": round(seconds)}}
        if best := best_of(settled, record):
            progress["BestTrainingJob"] = summarize(best)
        warm = record.get("WarmStartConfig", {})
        if warm.get("WarmStartType") == "IdenticalDataAndAlgorithm":
            for parent in warm["ParentHyperParameterTuningJobs"]:
                settled += trials_of(self.records, parent["HyperParameterTuningJobName"])
            if best := best_of(settled, record):
                progress["OverallBestTrainingJob"] = {**summarize(best), "TuningJobName": best["TuningJobName"]}
        return {**record, **progress}

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
            raise refusal("The request was rejected because the tuning job has ended.")
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


def best_of(trials: list[Record], record: Record) -> Record | None:
    """The best of those that were completed; None while there is none."""
    completed = [trial for trial in trials if trial["TrainingJobStatus"] == "Completed"]
    scored = [(score, trial) for trial in completed if (score := objective(trial)) is not None]
    if not scored:
        return None
    kind = record["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["Type"]
    return (min if kind == "Minimize" else max)(scored, key=itemgetter(0))[1]


def summarize(trial: Record) -> Record:
    """BestTrainingJob."""
    return {member: trial[member] for member in BEST_MEMBERS if member in trial}


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
