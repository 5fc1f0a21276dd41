"""The target aws against AWS's interfaces, served by moto over HTTP: the same commands, real requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from conftest import Dogbreed
from moto.server import ThreadedMotoServer

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
# What the SDK would look up is not the point here, and takes it four seconds.
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8-gpu-py312"


@pytest.fixture(scope="module")
def aws(dogs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dogbreed]:
    """A project on moto's AWS, with the dogs uploaded."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    folder = tmp_path_factory.mktemp("aws")
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__REGION": "us-east-1",
        "DOGBREED_AWS__ROLE_ARN": ROLE,
        "DOGBREED_AWS__TRAINING_IMAGE": IMAGE,
    }
    dogbreed = Dogbreed(folder, environment)
    dogbreed.run("upload", str(dogs))
    yield dogbreed
    server.stop()


def open_client(aws: Dogbreed, service: str):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, "us-east-1", endpoint_url=aws.environment["AWS_ENDPOINT_URL"], **keys)


def test_upload_is_in_sagemakers_default_bucket(aws: Dogbreed) -> None:
    listed = open_client(aws, "s3").list_objects_v2(
        Bucket="sagemaker-us-east-1-123456789012", Prefix="dogbreed/data/train/"
    )
    assert listed["KeyCount"] == 96
    assert not (aws.folder / ".dogbreed").exists()


def test_nothing_that_costs_starts_without_a_yes(aws: Dogbreed) -> None:
    client = open_client(aws, "sagemaker")
    for command in (("train",), ("tune", "--max-jobs", "1")):
        assert "--yes" in aws.run(*command, code=2).stderr
    assert client.list_training_jobs()["TrainingJobSummaries"] == []
    assert client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    source = open_client(aws, "s3").list_objects_v2(
        Bucket="sagemaker-us-east-1-123456789012", Prefix="dogbreed/source/"
    )
    assert source["KeyCount"] == 0


def test_train_sends_what_the_dry_run_shows(aws: Dogbreed) -> None:
    (shown,) = aws.json("train", "--dry-run")["dry_run"]
    name = aws.json("train", "--yes", "--no-wait")["training_job"]
    sent = open_client(aws, "sagemaker").describe_training_job(TrainingJobName=name)
    assert sent["TrainingJobName"].startswith("dogbreed-train-")
    for member in ("HyperParameters", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition"):
        assert sent[member] == shown[member]
    assert sent["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert (sent["RoleArn"], sent["DebugHookConfig"]) == (ROLE, shown["DebugHookConfig"])
    uri = shown["HyperParameters"]["sagemaker_submit_directory"].strip('"')
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    assert open_client(aws, "s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 1000


def test_a_missing_role_is_named(aws: Dogbreed) -> None:
    without = Dogbreed(aws.folder, {k: v for k, v in aws.environment.items() if k != "DOGBREED_AWS__ROLE_ARN"})
    error = without.json("train", code=2)
    assert "aws.role_arn" in error["fix"]


def test_teardown_takes_the_prefix_and_asks_first(aws: Dogbreed) -> None:
    aws.run("teardown", "--data", code=2)
    aws.run("teardown", "--data", "--yes")
    assert open_client(aws, "s3").list_objects_v2(Bucket="sagemaker-us-east-1-123456789012")["KeyCount"] == 0
