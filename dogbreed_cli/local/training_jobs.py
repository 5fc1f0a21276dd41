"""CreateTrainingJob and its fellows: records of training jobs. What a job does is in training.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from socket import socket
from typing import Any

from dogbreed_cli.local import worker
from dogbreed_cli.local.checkpoints import checkpoint_place, last_sync
from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.group import kill_orphans
from dogbreed_cli.local.home import Home, arn
from dogbreed_cli.local.listing import list_page, not_found
from dogbreed_cli.local.records import Record, Records
from dogbreed_cli.local.training_request import check_training_request

KIND = "training-job"
ENDED = ("Completed", "Failed", "Stopped")


class TrainingJobs:
    home: Home
    records: Records

    def create_training_job(self, request: Mapping[str, Any]) -> dict[str, Any]:
        check_training_request(request)
        record = self.start_training_job(request, {"Tags": request.get("Tags", [])})
        return {"TrainingJobArn": record["TrainingJobArn"]}

    def start_training_job(
        self,
        request: Mapping[str, Any],
        more: Mapping[str, Any],
        warm: socket | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> Record:
        """`warm` and `on_end` are for worker.start."""
        self.settle_those_before(request)
        name, now = request["TrainingJobName"], time.time()
        record = {
            **request,
            **more,
            "TrainingJobArn": arn("training-job", name),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [{"Status": "Starting", "StartTime": now, "StatusMessage": "Starting"}],
            "CreationTime": now,
            "LastModifiedTime": now,
        }
        if "ProfilerConfig" in request:
            record["ProfilingStatus"] = "Disabled" if request["ProfilerConfig"].get("DisableProfiler") else "Enabled"
        with worker.claim(self.home, name) as lock:
            try:
                if lock is None:
                    raise FileExistsError(name)
                self.records.create(KIND, name, record)
            except FileExistsError:
                raise AwsError("ResourceInUse", "Training job names must be unique within an AWS account") from None
            worker.start(self.home, "training", name, lock, warm, on_end)
        return record

    def describe_training_job(self, request: Mapping[str, Any]) -> Record:
        return self.settled_training_job(request["TrainingJobName"])

    def list_training_jobs(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "WarmPoolStatusEquals" in request:
            return {"TrainingJobSummaries": []}  # a machine that is always there keeps none warm
        settled = [self.settled_training_job(name) for name in self.records.names(KIND)]
        return list_page(settled, request, "TrainingJobSummaries", "TrainingJobName", "TrainingJobStatus")

    def stop_training_job(self, request: Mapping[str, Any]) -> None:
        name = request["TrainingJobName"]
        record = self.settled_training_job(name)
        if record["TrainingJobStatus"] in ENDED:
            raise refusal(
                f"The request was rejected because the training job is in status {record['TrainingJobStatus']}."
            )
        self.records.update(KIND, name, ask_to_stop)

    def settled_training_job(self, name: str) -> Record:
        """The record, after a job whose worker was killed has been ended as Failed."""
        record = self.records.read(KIND, name)
        if record is None:
            raise not_found("training job", name)
        if record["TrainingJobStatus"] in ENDED:
            return record
        with worker.claim(self.home, name) as lock:
            if lock is None:
                return record
            folder = self.home.jobs / name
            kill_orphans(folder)
            reason = "InternalServerError: the job's worker process on this machine was killed. Please try again."
            if trouble := last_sync(self.home, record, folder):
                reason += f" Its last checkpoints are lost: {trouble}"
            clear(folder)
            return self.records.update(KIND, name, lambda r: end(r, "Failed", "Failed", reason)) or record

    def settle_those_before(self, request: Mapping[str, Any]) -> None:
        """What a dead job left in its checkpoint folder reaches S3 before a job that goes on there looks for it."""
        if place := checkpoint_place(request):
            for record in self.records.all(KIND):
                if record["TrainingJobStatus"] not in ENDED and checkpoint_place(record) == place:
                    self.settled_training_job(record["TrainingJobName"])


def clear(folder: Path) -> None:
    """Remove a job's /opt/ml tree and what was fetched for it; its worker's log and lock stay."""
    for name in ("ml", "source", "fetched"):
        shutil.rmtree(folder / name, ignore_errors=True)


def ask_to_stop(record: Record) -> None:
    if record["TrainingJobStatus"] == "InProgress":
        record["TrainingJobStatus"] = "Stopping"
        move(record, "Stopping")


def move(record: Record, secondary: str, message: str = "") -> None:
    """Enter the next secondary status, closing the one before."""
    now = time.time()
    record["SecondaryStatusTransitions"][-1]["EndTime"] = now
    record["SecondaryStatusTransitions"].append(
        {"Status": secondary, "StartTime": now, "StatusMessage": message or secondary}
    )
    record["SecondaryStatus"], record["LastModifiedTime"] = secondary, now


def end(record: Record, status: str, secondary: str, reason: str = "") -> None:
    """Enter a final status, once."""
    if record["TrainingJobStatus"] in ENDED:
        return
    move(record, secondary, reason)
    now = record["LastModifiedTime"]
    record["SecondaryStatusTransitions"][-1]["EndTime"] = now
    record["TrainingJobStatus"] = status
    record.setdefault("TrainingStartTime", now)
    record["TrainingEndTime"] = now
    seconds = round(now - record["TrainingStartTime"])
    record["TrainingTimeInSeconds"] = record["BillableTimeInSeconds"] = max(seconds, 1)
    if reason:
        record["FailureReason"] = reason[:1024]
