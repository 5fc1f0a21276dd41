"""Endpoints that end themselves, that have to pass a test, and that scale: on this trained, and what is sent to AWS."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from click.testing import CliRunner
from conftest import InProcess, wait_for
from local_jobs import Machine
from moto_server import serve_moto
from PIL import Image
from serving_machine import add_training_job, configs, document, invoke, models

from dogbreed_cli import endpoint_requests, requests
from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config
from dogbreed_cli.options import NEVER, Duration
from dogbreed_cli.sections import Deploy

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-gpu-py312"


def endpoints(trained: Machine) -> list[str]:
    return [one["EndpointName"] for one in trained.sagemaker.list_endpoints()["Endpoints"]]


# ---- --expires, here


def test_an_endpoint_ends_itself(trained: Machine) -> None:
    found = document("deploy", "--expires", "3s")
    ends_at = datetime.fromisoformat(found["ends_at"])
    assert timedelta(seconds=-5) < ends_at - datetime.now(UTC) < timedelta(seconds=4)
    wait_for(lambda: not endpoints(trained))
    assert datetime.now(UTC) > ends_at - timedelta(seconds=1)
    wait_for(lambda: not trained.processes())
    scheduler = trained.session.client("scheduler")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="dogbreed-endpoint")


def test_status_shows_the_time_left_and_teardown_takes_the_schedule(trained: Machine) -> None:
    first = document("deploy", "--expires", "2h")["ends_at"]
    assert document("deploy")["ends_at"] == first, "it keeps its end"
    assert "dogbreed-one: it ends itself at " in invoke("deploy", "--job", "dogbreed-one").stderr, "and an update, too"
    assert document("deploy", "--job", "dogbreed-one", "--expires", "3h")["ends_at"] > first
    (item,) = document("status")["items"]
    assert item["ends_at"] > first
    assert re.search("2 h 59 min|3 h 00 min", invoke("status").stdout)
    assert document("deploy", "--expires", "never")["ends_at"] is None
    assert "ends in" not in invoke("status").stdout
    document("deploy", "--expires", "1d")
    planned = [(one["kind"], one["name"]) for one in document("teardown", "--dry-run")["planned"]]
    assert planned[:2] == [("schedule", "dogbreed-endpoint"), ("endpoint", "dogbreed-endpoint")]
    document("teardown", "--yes")
    assert document("deploy")["ends_at"] is None


def test_an_end_that_was_left_over_does_not_end_the_next(trained: Machine) -> None:
    document("deploy", "--expires", "2h")
    trained.sagemaker.delete_endpoint(EndpointName="dogbreed-endpoint")
    wait_for(lambda: not endpoints(trained))
    assert document("deploy")["ends_at"] is None


def test_a_failed_deploy_leaves_no_schedule(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    document("deploy", "--expires", "2h", code=5)
    assert document("teardown", "--dry-run")["planned"] == []
    assert not list((trained.home.records / "schedule").glob("*.json"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("5s", 5), ("never", 0)]
)
def test_times_as_they_are_typed(text: str, seconds: int) -> None:
    found = Duration().convert(text, None, None)
    assert found.total_seconds() == seconds
    assert (found == NEVER) == (text == "never")


@pytest.mark.parametrize("text", ["", "2", "2x", "h", "0m", "400d", "-1h", "1m1h", "9" * 30 + "d"])
def test_what_is_no_time_is_a_usage_error(text: str, trained: Machine) -> None:
    assert "--expires" in document("deploy", "--expires", text, code=2)["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"ScheduleExpression": "rate(1 hour)"},
        {"ScheduleExpression": "at(yesterday)"},
        {"ScheduleExpressionTimezone": "Europe/Berlin"},
        {"State": "DISABLED"},
        {"GroupName": "mine"},
        {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1"},
        {"Target": {"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "RoleArn": ROLE}},
        {"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint", "RoleArn": ROLE, "Input": "[]"}},
    ],
)
def test_what_the_local_scheduler_cannot_do_it_refuses(change: dict[str, Any], trained: Machine) -> None:
    scheduler = trained.session.client("scheduler")
    request = endpoint_requests.end(ROLE, "dogs", datetime.now(UTC))
    with pytest.raises(ClientError) as caught:
        scheduler.create_schedule(**{**request, **change})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for method in ("update_schedule", "delete_schedule", "get_schedule"):
        with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
            getattr(scheduler, method)(**(request if method == "update_schedule" else {"Name": "dogs"}))


# ---- --test


def test_an_endpoint_that_fails_its_test_is_removed_or_gets_its_old_model_back(trained: Machine, dogs: Path) -> None:
    good, bad = next(dogs.rglob("*.jpg")), trained.folder / "small.png"
    Image.new("RGB", (8, 8)).save(bad)  # which this model does not survive
    failed = document("deploy", "--test", str(bad), code=5)
    assert ("small.png" in failed["error"], failed["why"]) == (True, "MemoryError: too small")
    assert (models(trained), configs(trained), endpoints(trained)) == ([], [], [])
    done = invoke("deploy", "--job", "dogbreed-one", "--test", str(good))
    assert "Beagle 100.0%" in done.stderr
    (served,) = configs(trained)
    said = invoke("deploy", "--job", "dogbreed-two", "--test", str(bad), code=5).stderr
    assert f"back to {served}" in said
    assert (models(trained), configs(trained)) == (["dogbreed-one"], [served])
    found = trained.sagemaker.describe_endpoint(EndpointName="dogbreed-endpoint")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", served)


def test_a_test_that_cannot_be(trained: Machine) -> None:
    (trained.folder / "a.jpg").write_text("no image")
    for arguments in (["--test", "a.jpg"], ["--test", "missing.jpg"], ["--test", "a.jpg", "--no-wait"]):
        assert "--test" in document("deploy", *arguments, code=2)["error"]
    assert endpoints(trained) == []


def test_stages_are_said(trained: Machine) -> None:
    said = invoke("deploy", "--job", "dogbreed-one").stderr
    assert "Creating: the server starts" in said and "] InService" in said
    assert "Updating: the old model serves until the new one answers" in invoke("deploy").stderr


def test_a_machine_does_not_scale_and_says_so(trained: Machine) -> None:
    assert "this machine has one instance" in invoke("--set", "deploy.max_instances=3", "deploy").stderr


# ---- AWS


def test_the_requests_are_valid() -> None:
    config = Config(deploy=Deploy(max_instances=4, requests_per_minute=300))
    session = botocore.session.get_session()
    for service, operation, request in (
        ("scheduler", "CreateSchedule", endpoint_requests.end(ROLE, "dogs", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))),
        ("application-autoscaling", "RegisterScalableTarget", endpoint_requests.scaling_target(config, "dogs")),
        ("application-autoscaling", "PutScalingPolicy", endpoint_requests.scaling_policy(config, "dogs")),
    ):
        shape = session.get_service_model(service).operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
    china = endpoint_requests.end(ROLE.replace("arn:aws:", "arn:aws-cn:"), "dogs", datetime.now(UTC))
    assert china["Target"]["Arn"].startswith("arn:aws-cn:scheduler:::aws-sdk:")
    assert endpoint_requests.end(ROLE, "d", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))["ScheduleExpression"] == (
        "at(2026-01-02T03:04:05)"
    )


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A project with a training job that has completed, on moto's AWS."""
    folder = tmp_path_factory.mktemp("aws")
    with serve_moto() as url:
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_PRICING": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "AWS_MAX_ATTEMPTS": "2",
            "DOGBREED_TARGET": "aws",
            "DOGBREED_AWS__REGION": "us-east-1",
            "DOGBREED_AWS__ROLE_ARN": ROLE,
            "DOGBREED_AWS__INFERENCE_IMAGE": IMAGE,
        }
        aws = InProcess(folder, environment)
        open_client(aws, "sagemaker").create_training_job(
            TrainingJobName="dogbreed-train-1",
            AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            RoleArn=ROLE,
            OutputDataConfig={"S3OutputPath": "s3://b/p"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
            Tags=requests.tags(Config()),
        )
        yield aws


def open_client(aws: InProcess, service: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, "us-east-1", endpoint_url=aws.environment["AWS_ENDPOINT_URL"], **keys)


def test_on_aws_the_schedule_and_the_scaling_come_and_go_with_the_endpoint(aws: InProcess) -> None:
    options = ("--set", "deploy.max_instances=3", "--set", f"deploy.expiry_role_arn={ROLE}-expiry")
    shown = aws.json(*options, "deploy", "--expires", "2h", "--dry-run")["dry_run"]
    assert [next(iter(one)) for one in shown] == ["ModelName", "EndpointConfigName", "Name", "EndpointName",
                                                  "ServiceNamespace", "PolicyName"]  # fmt: skip
    found = aws.json(*options, "deploy", "--expires", "2h", "--yes")
    scheduler, scaling = open_client(aws, "scheduler"), open_client(aws, "application-autoscaling")
    schedule = scheduler.get_schedule(Name="dogbreed-endpoint")
    assert schedule["Target"]["RoleArn"] == f"{ROLE}-expiry"
    assert json.loads(schedule["Target"]["Input"]) == {"EndpointName": "dogbreed-endpoint"}
    assert schedule["ActionAfterCompletion"] == "DELETE"
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 1000
    (item,) = aws.json("status")["items"]
    assert item["ends_at"] == found["ends_at"]
    kinds = [one["kind"] for one in aws.json("teardown", "--yes")["removed"]]
    assert kinds == ["schedule", "endpoint", "endpoint-config", "model"]
    assert scheduler.list_schedules()["Schedules"] == []
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_the_most_that_it_can_cost_is_that_of_all_instances(aws: InProcess) -> None:
    one = aws.json("deploy", "--dry-run")["cost"]
    most = aws.json("--set", "deploy.max_instances=3", "deploy", "--dry-run")["cost"]
    assert (one["instances"], most["instances"]) == (1, 3)
    assert most["usd_per_day"] == pytest.approx(3 * one["usd_per_day"])


def test_no_role_for_the_end_is_said_before_anything_is_made(aws: InProcess) -> None:
    failed = aws.json("deploy", "--expires", "2h", "--yes", code=2)
    assert "deploy.expiry_role_arn" in failed["fix"]
    assert aws.json("teardown", "--dry-run")["planned"] == []


@pytest.mark.parametrize(
    "settings", ["deploy.serverless=true deploy.max_instances=2", "deploy.instance_count=3 deploy.max_instances=2"]
)
def test_scaling_that_cannot_be(settings: str, folder: Path) -> None:
    words = [word for text in settings.split() for word in ("--set", text)]
    done = CliRunner().invoke(cli, [*words, "init", "--print"])
    assert (done.exit_code, "deploy.max_instances" in done.stderr) == (2, True)
