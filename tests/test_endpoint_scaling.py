"""Endpoints that end themselves and that scale: what is sent to AWS, and what moto's makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.validate import ParamValidator
from click.testing import CliRunner
from conftest import InProcess, wait_for
from local_jobs import Machine
from moto_server import serve_moto
from msgspec.structs import replace
from serving_machine import invoke

from dogbreed_cli import autoscaling, deployment, endpoint_requests, jobs, requests, resources
from dogbreed_cli.cli import cli
from dogbreed_cli.config import Config
from dogbreed_cli.console import Console
from dogbreed_cli.local import BUCKET, ROLE_ARN
from dogbreed_cli.sections import Deploy

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6-gpu-py312"


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
    assert kinds == ["endpoint", "schedule", "endpoint-config", "model"]
    assert scheduler.list_schedules()["Schedules"] == []
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_scaling_grows_when_told_and_ends_with_the_setting(aws: InProcess) -> None:
    scaling, three = open_client(aws, "application-autoscaling"), ("--set", "deploy.max_instances=3")

    def most() -> list[int]:
        found = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        return [target["MaxCapacity"] for target in found]

    aws.run(*three, "deploy", "--yes")
    aws.run(*three, "deploy")  # nothing that costs more: no question
    assert "--yes" in aws.run("--set", "deploy.max_instances=4", "deploy", code=2).stderr
    assert most() == [3]
    aws.run("--set", "deploy.max_instances=4", "deploy", "--yes")
    assert most() == [4]
    aws.run("deploy")
    assert most() == []
    # AWS removes a target's policies with it, moto does not.
    scaling.delete_scaling_policy(
        PolicyName="dogbreed-endpoint-requests", **endpoint_requests.scaled("dogbreed-endpoint")
    )
    others = Config(deploy=Deploy(max_instances=2))
    scaling.register_scalable_target(**endpoint_requests.scaling_target(others, "dogbreed-endpoint"))
    policy = endpoint_requests.scaling_policy(others, "dogbreed-endpoint")
    scaling.put_scaling_policy(**{**policy, "PolicyName": "mine"})
    aws.run("deploy")
    assert most() == [2], "what others have set up is theirs"
    scaling.deregister_scalable_target(**endpoint_requests.scaled("dogbreed-endpoint"))
    aws.run("teardown", "--yes")


def test_an_update_keeps_the_scaling_unless_the_instance_type_changes(trained: Machine, aws: InProcess) -> None:
    """The endpoint is one of this machine, since moto updates none; its scaling is moto's."""
    invoke("deploy", "--job", "dogbreed-one")
    client, scaling = trained.sagemaker, open_client(aws, "application-autoscaling")
    session: Any = SimpleNamespace(
        client=lambda name: scaling if name == "application-autoscaling" else client, scales=True, console=Console()
    )
    config, name = Config(deploy=Deploy(max_instances=3)), "dogbreed-endpoint"
    before = autoscaling.Scaling(
        endpoint_requests.scaling_target(config, name), endpoint_requests.scaling_policy(config, name)
    )
    autoscaling.start_scaling(session, before)
    for instance_type, steps in ((config.deploy.instance_type, 0), ("ml.c5.large", 1)):
        place = requests.Site(BUCKET, ROLE_ARN, trained.image)
        config = replace(config, deploy=replace(config.deploy, instance_type=instance_type))
        wanted = deployment.build(
            config, place, "dogbreed-two", name, f"s3://{BUCKET}/jobs/dogbreed-two/output/model.tar.gz"
        )
        undo: list[Any] = []
        for kind, request in (("model", wanted.model), ("endpoint_config", wanted.endpoint_config)):
            if not resources.find(client, kind.replace("_", "-"), next(iter(request.values()))):
                getattr(client, f"create_{kind}")(**request)
        deployment.update(session, wanted, client.describe_endpoint(EndpointName=name), undo)
        wait_for(lambda: client.describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService")
        assert (len(undo), autoscaling.find_scaling(session, name) is None) == (steps, bool(steps))
    undo[0]()
    assert autoscaling.find_scaling(session, name) == before
    autoscaling.stop_scaling(session, name)


def test_the_end_of_a_log_is_that_of_the_instance_that_was_started_last(aws: InProcess) -> None:
    """Whatever the instances are called: AWS lists streams by name."""
    logs, group = open_client(aws, "logs"), jobs.endpoint_logs("dogbreed-old")
    assert jobs.read_end(logs, group, 2) == []
    logs.create_log_group(logGroupName=group)
    for instance in ("i-2", "i-1"):  # the second is the one that an update started
        logs.create_log_stream(logGroupName=group, logStreamName=f"AllTraffic/{instance}")
        now = int(time.time() * 1000)
        lines = [{"timestamp": now, "message": f"{instance} line {number}"} for number in range(3)]
        logs.put_log_events(logGroupName=group, logStreamName=f"AllTraffic/{instance}", logEvents=lines)
        time.sleep(0.01)  # AWS counts in milliseconds
    assert jobs.read_end(logs, group, 2) == ["i-1 line 1", "i-1 line 2"]
    logs.delete_log_group(logGroupName=group)


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
