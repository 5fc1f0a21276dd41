"""SageMaker's jobs and endpoints: find, create under a free name, read the log, say why one failed, stop."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from dogbreed_cli.aws_errors import explain_failure
from dogbreed_cli.errors import DogbreedError, JobFailed, NotFound, UsageError, interrupted
from dogbreed_cli.tags import TAG

ENDED = ("Completed", "Failed", "Stopped")
RUNNING = ("InProgress", "Stopping")
# AWS's own is 10, and it throttles.
PAGE = {"PageSize": 100}
# All attempts of botocore at one request: six, of at most a minute each, and the pauses between them.
LONGEST_CREATION = timedelta(minutes=10)
# Of a training job or an endpoint.
NAME = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
# Kinds of training jobs, which their names tell.
TRAINING, TRIAL, FEATURES = "training job", "trial", "features job"


def endpoint_logs(endpoint: str) -> str:
    """The endpoint's log group, beside the one of all training jobs."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def check_name(name: str, project: str) -> None:
    """Raises UsageError for a name that AWS would refuse, no later command would find, or would take for a trial's."""
    if not re.fullmatch(NAME, name):
        allowed = "at most 63 letters, digits and hyphens, no hyphen at the end"
        raise UsageError(f"{name} cannot be a name", fix=f"take {allowed}")
    if not name.startswith(f"{project}-"):
        why = "the commands find a project's jobs and endpoints by names that begin with the project's name"
        raise UsageError(f"the name {name} does not begin with {project}-", why, f"say --name {project}-{name}")
    if (kind := kind_of(name, project)) != TRAINING:
        raise UsageError(
            f"the name {name} is that of a {kind}",
            fix=f"begin it with {project}-, but not {project}-tune- or -features-",
        )


def kind_of(name: str, project: str) -> str:
    """Of a training job, what it is for."""
    stems = {f"{project}-tune-": TRIAL, f"{project}-features-": FEATURES}
    return next((kind for stem, kind in stems.items() if name.startswith(stem)), TRAINING)


def create_named(
    client: Any, create: Callable[[Mapping[str, Any]], None], build: Callable[[str], Mapping[str, Any]], stem: str
) -> str:
    """Create a job called `<stem>-<yymmdd-hhmmss>`; a second later in the name for each that has it already."""
    moment = datetime.now()
    while not create_job(client, create, build(name := f"{stem}-{moment:%y%m%d-%H%M%S}")):
        moment += timedelta(seconds=1)
    return name


def create_job(client: Any, create: Callable[[Mapping[str, Any]], None], request: Mapping[str, Any]) -> bool:
    """Create a training or tuning job; False where another one has its name."""
    from botocore.exceptions import ClientError

    try:
        create(request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUse":
            raise
        return was_created(client, error, request)
    except KeyboardInterrupt as signal:
        name = request.get("TrainingJobName") or request["HyperParameterTuningJobName"]
        fix = "it may have started: `dogbreed status` shows whether it runs, `dogbreed teardown` ends it"
        raise interrupted(signal, f"interrupted while {name} was being created", fix) from None
    return True


def was_created(client: Any, error: Any, request: Mapping[str, Any]) -> bool:
    """Whether the name is taken by an earlier attempt of this very request, whose answer was lost.

    That botocore asked before is not enough: that attempt may have been throttled, and the name be an older job's.
    """
    metadata = error.response.get("ResponseMetadata", {})
    if not metadata.get("RetryAttempts"):
        return False
    if "TrainingJobName" in request:
        there = describe_training_job(client, request["TrainingJobName"])
        wanted, found = request["HyperParameters"], there.get("HyperParameters", {})
    else:
        there = describe_tuning_job(client, request["HyperParameterTuningJobName"])
        wanted, found = (one["TrainingJobDefinition"]["StaticHyperParameters"] for one in (request, there))
    # By AWS's clock, not this machine's.
    date = metadata.get("HTTPHeaders", {}).get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    # AWS adds hyperparameters of its own to those of a tuning job.
    return wanted.items() <= found.items() and now - there["CreationTime"] < LONGEST_CREATION


def belongs(client: Any, arn: str, project: str) -> bool:
    """Whether a resource carries the project's tag. One that vanished meanwhile does not."""
    return read_tags(client, arn).get(TAG) == project


def read_tags(client: Any, arn: str) -> dict[str, str]:
    from botocore.exceptions import ClientError

    try:
        pages = client.get_paginator("list_tags").paginate(ResourceArn=arn)
        return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
    except ClientError as error:
        if error.response["Error"]["Code"] in ("ResourceNotFound", "ValidationException"):
            return {}
        raise


def list_training_jobs(
    client: Any, project: str, kinds: tuple[str, ...] = (TRAINING,), **filters: Any
) -> Iterator[dict[str, Any]]:
    """The project's training jobs of these kinds, newest first."""
    asked = {"NameContains": f"{project}-", "SortBy": "CreationTime", "SortOrder": "Descending", **filters}
    pages = client.get_paginator("list_training_jobs").paginate(PaginationConfig=PAGE, **asked)
    for page in pages:
        for summary in page["TrainingJobSummaries"]:
            name = summary["TrainingJobName"]
            wanted = name.startswith(f"{project}-") and kind_of(name, project) in kinds
            if wanted and belongs(client, summary["TrainingJobArn"], project):
                yield summary


def list_features_jobs(client: Any, project: str, stem: str) -> list[dict[str, Any]]:
    """All attempts at one features job, newest first."""
    found = list_training_jobs(client, project, (FEATURES,), NameContains=stem)
    return [summary for summary in found if summary["TrainingJobName"].startswith(stem)]


def list_tuning_jobs(client: Any, project: str, **filters: Any) -> Iterator[dict[str, Any]]:
    """The project's tuning jobs, newest first."""
    pages = client.get_paginator("list_hyper_parameter_tuning_jobs").paginate(
        NameContains=f"{project}-", SortBy="CreationTime", SortOrder="Descending", PaginationConfig=PAGE, **filters
    )
    for page in pages:
        for summary in page["HyperParameterTuningJobSummaries"]:
            ours = summary["HyperParameterTuningJobName"].startswith(f"{project}-")
            if ours and belongs(client, summary["HyperParameterTuningJobArn"], project):
                yield summary


def list_running_training_jobs(client: Any, project: str) -> Iterator[dict[str, Any]]:
    """Trials too: those of a tuning job whose worker was killed run on until they have stopped."""
    for status in RUNNING:
        yield from list_training_jobs(client, project, (TRAINING, TRIAL, FEATURES), StatusEquals=status)


def list_running_tuning_jobs(client: Any, project: str) -> Iterator[dict[str, Any]]:
    for status in RUNNING:
        yield from list_tuning_jobs(client, project, StatusEquals=status)


def list_warm_pools(client: Any, project: str) -> Iterator[dict[str, Any]]:
    """Training jobs that ended, but whose instances are kept for a next one (train.keep_alive), and charged for."""
    for job in list_training_jobs(client, project, WarmPoolStatusEquals="Available"):
        if job.get("WarmPoolStatus", {}).get("Status") == "Available":  # moto lists all
            yield job


def latest_training_job(client: Any, project: str) -> str:
    """Raises DogbreedError when there is none that completed."""
    for summary in list_training_jobs(client, project, StatusEquals="Completed"):
        return summary["TrainingJobName"]
    raise DogbreedError(f"project {project} has no completed training job", fix="run `dogbreed train`, or name a job")


def latest_tuning_job(client: Any, project: str) -> str:
    """Raises DogbreedError when there is none that completed."""
    for summary in list_tuning_jobs(client, project, StatusEquals="Completed"):
        return summary["HyperParameterTuningJobName"]
    raise DogbreedError(f"project {project} has no completed tuning job", fix="run `dogbreed tune`, or name a job")


def describe_training_job(client: Any, name: str) -> dict[str, Any]:
    with explain_missing("training job", name):
        return client.describe_training_job(TrainingJobName=name)


def describe_tuning_job(client: Any, name: str) -> dict[str, Any]:
    with explain_missing("tuning job", name):
        return client.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def stop_training_job(client: Any, name: str) -> None:
    """One that has just ended by itself is none to stop."""
    from botocore.exceptions import ClientError

    try:
        client.stop_training_job(TrainingJobName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationException":
            raise


def list_trials(client: Any, tuning_job: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=tuning_job, PaginationConfig=PAGE
    )
    return [summary for page in pages for summary in page["TrainingJobSummaries"]]


@contextmanager
def explain_missing(kind: str, name: str) -> Iterator[None]:
    """`Requested resource not found.` -> which, and how to see what there is."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if not is_missing(error):
            raise
        why = error.response["Error"].get("Message", "")
        raise NotFound(f"no {kind} {name}", why, "see `dogbreed status --all`") from error


def is_missing(error: Any) -> bool:
    said = error.response["Error"]
    absent = re.search(
        r"could not find|can't find|cannot find|not found|does not exist", said.get("Message", ""), re.IGNORECASE
    )
    return said["Code"] in ("ResourceNotFound", "ValidationException", "ValidationError") and absent is not None


def read_log(logs: Any, job: str, positions: dict[str, str], group: str = TRAINING_LOGS) -> Iterator[str]:
    """The lines since the last call. `positions` keeps the place in each stream between calls.

    `job` is the beginning of the streams' names; "" means the whole group.
    """
    for stream in (found["logStreamName"] for found in list_streams(logs, group, job)):
        while True:
            place = {"nextToken": positions[stream]} if stream in positions else {}
            page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **place)
            yield from (event["message"] for event in page["events"])
            # CloudWatch's way of saying that this is all for now: the token it gave stays the same.
            if page["nextForwardToken"] == positions.get(stream):
                break
            positions[stream] = page["nextForwardToken"]


def read_end(logs: Any, group: str, most: int) -> list[str]:
    """The last lines of the stream that was begun last."""
    if not (streams := list_streams(logs, group)):
        return []
    last = max(streams, key=lambda stream: stream["creationTime"])["logStreamName"]
    page = logs.get_log_events(logGroupName=group, logStreamName=last, startFromHead=False, limit=most)
    return [event["message"] for event in page["events"]]


def list_streams(logs: Any, group: str, prefix: str = "") -> list[dict[str, Any]]:
    from botocore.exceptions import ClientError

    begun = {"logStreamNamePrefix": prefix} if prefix else {}  # AWS takes no empty one
    try:
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, **begun)
        return [stream for page in pages for stream in page["logStreams"]]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return []  # no job of the account has said a word yet
        raise


def require_completed(kind: str, name: str, status: str, reason: str | None) -> None:
    """Raises JobFailed, with the script's own words, for a job that ended otherwise.

    `reason` is its FailureReason; one that was stopped has none, but a secondary status (MaxRuntimeExceeded).
    """
    if status in RUNNING:
        raise DogbreedError(f"the {kind} {name} is {status}", "it has not ended", "see `dogbreed status`")
    if status != "Completed":
        raise failed(f"the {kind} {name} ended {status}", reason or "", f"see `dogbreed logs {name}`")


def failed(what: str, reason: str, log: str) -> JobFailed:
    """The error of a job or an endpoint, with what its FailureReason means; `log` says where there is more."""
    why, fix = explain_failure(reason) if reason else ("", "")
    return JobFailed(what, why, f"{fix}; {log}" if fix else log)


def metrics(description: Mapping[str, Any]) -> dict[str, float]:
    return {metric["MetricName"]: metric["Value"] for metric in description.get("FinalMetricDataList", [])}
