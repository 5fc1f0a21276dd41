"""A creation or an update that AWS took, whose answer nobody saw: nothing is made twice, nothing of it is removed.

The answers are put in with botocore's own Stubber, since no server loses them at the right moment.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from sent_requests import INPUTS, SITE
from settings import settings

from dogbreed_cli import jobs, requests, resources
from dogbreed_cli.commands.teardown import Item, ask_to_stop, wait_until_stopped
from dogbreed_cli.console import Console
from dogbreed_cli.errors import Interrupted
from dogbreed_cli.session import open_session
from dogbreed_cli.tags import TAG

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RETRIED = {"RetryAttempts": 1, "HTTPHeaders": {"date": "Mon, 23 Nov 2026 12:00:00 GMT"}}
TRAINING = requests.training(settings(), SITE, INPUTS, "dogbreed-mine", {})
TUNING = requests.tuning(settings(), SITE, INPUTS, "dogbreed-tune-1")
ARN = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogbreed-endpoint"


@pytest.fixture
def client() -> Any:
    return boto3.Session("test", "test", region_name="us-east-1").client("sagemaker")


def endpoint(config_name: str, status: str = "InService", **more: Any) -> dict[str, Any]:
    return {
        "EndpointName": "dogbreed-endpoint",
        "EndpointArn": ARN,
        "EndpointConfigName": config_name,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **more,
    }


def training(created: datetime, hyperparameters: dict[str, str]) -> dict[str, Any]:
    return {
        "TrainingJobName": "dogbreed-mine",
        "TrainingJobArn": ARN,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/m"},
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Starting",
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {},
        "CreationTime": created,
        "HyperParameters": hyperparameters,
    }


@pytest.mark.parametrize(
    ("meta", "created", "changed", "ours"),
    [
        (RETRIED, NOW - timedelta(seconds=40), {}, True),
        # The first attempt was throttled; the name is that of last week's job, or of another command's.
        (RETRIED, NOW - timedelta(days=7), {}, False),
        (RETRIED, NOW - timedelta(seconds=1), {"lr": "0.5"}, False),
        ({"RetryAttempts": 0}, NOW, {}, False),
    ],
    ids=["lost answer", "last week", "another's", "first attempt"],
)
def test_only_a_job_of_this_request_is_taken_for_ours(
    client: Any, meta: dict[str, Any], created: datetime, changed: dict[str, str], ours: bool
) -> None:
    with Stubber(client) as stub:
        stub.add_client_error("create_training_job", "ResourceInUse", response_meta=meta)
        stub.add_response("describe_training_job", training(created, TRAINING["HyperParameters"] | changed))
        assert jobs.create_job(client, lambda request: client.create_training_job(**request), TRAINING) is ours


def test_a_tuning_job_whose_answer_was_lost_is_not_created_twice(client: Any) -> None:
    definition = TUNING["TrainingJobDefinition"]
    # As AWS describes it: with a hyperparameter more.
    static = definition["StaticHyperParameters"] | {"_tuning_objective_metric": "validation:loss"}
    described = {
        "HyperParameterTuningJobName": "dogbreed-tune-1",
        "HyperParameterTuningJobArn": ARN,
        "HyperParameterTuningJobConfig": TUNING["HyperParameterTuningJobConfig"],
        "TrainingJobDefinition": definition | {"StaticHyperParameters": static},
        "HyperParameterTuningJobStatus": "InProgress",
        "CreationTime": NOW,
        "TrainingJobStatusCounters": {},
        "ObjectiveStatusCounters": {},
    }
    with Stubber(client) as stub:
        stub.add_client_error("create_hyper_parameter_tuning_job", "ResourceInUse", response_meta=RETRIED)
        stub.add_response("describe_hyper_parameter_tuning_job", described)
        create = client.create_hyper_parameter_tuning_job
        assert jobs.create_job(client, lambda request: create(**request), TUNING)
        stub.assert_no_pending_responses()


def test_ctrl_c_while_a_job_is_created_says_which(client: Any) -> None:
    def interrupt(request: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"dogbreed-train-\d+-\d+.*may have started.*dogbreed status"):
        jobs.create_named(client, interrupt, lambda name: {"TrainingJobName": name}, "dogbreed-train")


def test_the_config_that_an_update_is_giving_an_endpoint_is_used(client: Any) -> None:
    listed = {key: endpoint("old")[key] for key in ("EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime")}
    with Stubber(client) as stub:
        stub.add_response("list_endpoints", {"Endpoints": [{**listed, "EndpointStatus": "Updating"}]})
        stub.add_response("list_tags", {"Tags": [{"Key": TAG, "Value": "dogbreed"}]})
        moving = endpoint("old", "Updating", PendingDeploymentSummary={"EndpointConfigName": "new"})
        stub.add_response("describe_endpoint", moving)
        assert resources.is_used(client, "endpoint-config", "new", "dogbreed")


def test_an_update_that_has_begun_is_no_error_when_it_is_asked_for_again(client: Any) -> None:
    refusal = ("update_endpoint", "ValidationException", "Cannot update in-progress endpoint")
    with Stubber(client) as stub:
        stub.add_client_error(*refusal)
        pending = {"EndpointConfigName": "new"}
        stub.add_response("describe_endpoint", endpoint("old", "Updating", PendingDeploymentSummary=pending))
        resources.update_endpoint(client, "dogbreed-endpoint", "new")
        stub.add_client_error(*refusal)
        stub.add_response("describe_endpoint", endpoint("old", "Updating"))
        with pytest.raises(client.exceptions.ClientError):
            resources.update_endpoint(client, "dogbreed-endpoint", "new")


def test_a_job_that_is_stopping_already_is_waited_for(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("DOGBREED_HOME", str(tmp_path))
    session = open_session(settings(), Console())
    session.client = lambda service: client  # type: ignore[method-assign, assignment]
    job = Item("training job", "dogbreed-mine")
    with Stubber(client) as stub:
        stub.add_client_error("stop_training_job", "ValidationException", "The training job is in status Stopping.")
        for status in ("Stopping", "Stopping", "Stopped"):
            stub.add_response("describe_training_job", training(NOW, {}) | {"TrainingJobStatus": status})
        ask_to_stop(session, job)
        wait_until_stopped(session, job, time.monotonic() + 60)
        stub.assert_no_pending_responses()
