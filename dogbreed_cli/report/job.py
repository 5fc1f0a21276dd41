"""What SageMaker says about the training job: boto3's DescribeTrainingJob, reduced to the facts that a report shows."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# What the script was given is of interest; how SageMaker was told to start it is shown apart.
PLATFORM_PREFIX = "sagemaker_"


@dataclass(frozen=True)
class Transition:
    """One secondary status (Starting, Downloading, Training, ...) and how long it lasted."""

    status: str
    started: datetime | None
    ended: datetime | None
    seconds: float | None
    message: str


@dataclass(frozen=True)
class RuleStatus:
    """What AWS's own rule container says of a rule: NoIssuesFound, IssuesFound, Error, ..."""

    rule: str
    status: str
    details: str


@dataclass(frozen=True)
class Job:
    name: str
    status: str
    failure_reason: str | None
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    training_seconds: int | None
    billable_seconds: int | None
    # In a warm pool, after the job; billed too.
    retained_seconds: int
    spot: bool
    instance_type: str | None
    instance_count: int | None
    image: str | None
    model: str | None
    channels: tuple[str, ...] | None
    hyperparameters: Mapping[str, Any]
    platform: Mapping[str, Any]
    transitions: tuple[Transition, ...]
    rule_statuses: tuple[RuleStatus, ...]
    tags: Mapping[str, str]

    @property
    def spot_saving(self) -> float | None:
        """Share of the training time that was not billed."""
        if not self.spot or not self.training_seconds or self.billable_seconds is None:
            return None
        return 1 - self.billable_seconds / self.training_seconds


def read_job(description: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> Job:
    values = {name: decode_value(value) for name, value in (description.get("HyperParameters") or {}).items()}
    resources = description.get("ResourceConfig") or {}
    channels = description.get("InputDataConfig")
    return Job(
        name=description.get("TrainingJobName") or "unnamed training job",
        status=description.get("TrainingJobStatus") or "Unknown",
        failure_reason=description.get("FailureReason") or None,
        created=description.get("CreationTime"),
        started=description.get("TrainingStartTime"),
        ended=description.get("TrainingEndTime"),
        training_seconds=description.get("TrainingTimeInSeconds"),
        billable_seconds=description.get("BillableTimeInSeconds"),
        retained_seconds=(description.get("WarmPoolStatus") or {}).get("ResourceRetainedBillableTimeInSeconds") or 0,
        spot=bool(description.get("EnableManagedSpotTraining")),
        instance_type=resources.get("InstanceType"),
        instance_count=resources.get("InstanceCount"),
        image=(description.get("AlgorithmSpecification") or {}).get("TrainingImage"),
        model=(description.get("ModelArtifacts") or {}).get("S3ModelArtifacts"),
        channels=None if channels is None else tuple(channel["ChannelName"] for channel in channels),
        hyperparameters={name: value for name, value in values.items() if not name.startswith(PLATFORM_PREFIX)},
        platform={name: value for name, value in values.items() if name.startswith(PLATFORM_PREFIX)},
        transitions=tuple(map(read_transition, description.get("SecondaryStatusTransitions") or ())),
        rule_statuses=tuple(
            read_rule_status(status)
            for kind in ("DebugRuleEvaluationStatuses", "ProfilerRuleEvaluationStatuses")
            for status in description.get(kind) or ()
        ),
        tags=dict(tags or {}),
    )


def read_rule_status(status: Mapping[str, Any]) -> RuleStatus:
    return RuleStatus(
        rule=status.get("RuleConfigurationName") or "unnamed rule",
        status=status.get("RuleEvaluationStatus") or "Unknown",
        details=status.get("StatusDetails") or "",
    )


def read_transition(transition: Mapping[str, Any]) -> Transition:
    started, ended = transition.get("StartTime"), transition.get("EndTime")
    return Transition(
        status=transition.get("Status") or "Unknown",
        started=started,
        ended=ended,
        seconds=elapsed_seconds(started, ended),
        message=transition.get("StatusMessage") or "",
    )


def elapsed_seconds(started: datetime | None, ended: datetime | None) -> float | None:
    return (ended - started).total_seconds() if started and ended else None


def decode_value(text: Any) -> Any:
    """A hyperparameter as the script sees it: SageMaker's are strings that SDKs JSON-encode, some twice ('"32"')."""
    for _ in range(2):
        if not isinstance(text, str):
            break
        try:
            value = json.loads(text)
        except ValueError:
            break
        # Only what reads the same again: no lists, true/false or null, and no NaN, which json.loads takes.
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            break
        if isinstance(value, float) and not math.isfinite(value):
            break
        text = value
    return text
