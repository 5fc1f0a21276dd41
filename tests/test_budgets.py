"""`--budget` and `status` on moto's AWS, with the Price List beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from click.testing import CliRunner
from moto_server import serve_moto
from price_list import PriceListServer
from priced_jobs import INSTANCES, TAGS

from dogbreed_cli.cli import cli

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8-gpu-py312"
BUCKET = "sagemaker-us-east-1-123456789012"


@dataclass
class Aws:
    """`dogbreed ...` in this process, on moto's AWS: nothing here gets as far as to create anything with the SDK."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """What it wrote to stdout and stderr."""
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = self.capsys.readouterr()
        assert ended.value.code == code, said
        return said.out, said.err

    def json(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        return json.loads(self.run("--json", *arguments, code=code)[0])

    def client(self, service: str) -> Any:
        return boto3.client(service, "us-east-1", endpoint_url=self.url)


@pytest.fixture
def aws(
    dogs: Path, price_list: PriceListServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Aws]:
    """A project with the dogs uploaded."""
    with serve_moto() as url:
        aws = Aws(url, capsys)
        environment = {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_CONFIG_FILE": "none",
            "DOGBREED_TARGET": "aws",
            "DOGBREED_AWS__REGION": "us-east-1",
            "DOGBREED_AWS__ROLE_ARN": ROLE,
            "DOGBREED_AWS__TRAINING_IMAGE": IMAGE,
            "DOGBREED_AWS__INFERENCE_IMAGE": IMAGE,
            "DOGBREED_MODEL__WEIGHTS": "none",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # moto's state is this process's, not the server's: other tests have used it, and will.
        requests.post(f"{aws.url}/moto-api/reset", timeout=60).raise_for_status()
        aws.run("upload", str(dogs), "--yes")
        yield aws
        requests.post(f"{aws.url}/moto-api/reset", timeout=60).raise_for_status()


def test_a_budget_stops_a_command_before_anything_is_made(aws: Aws) -> None:
    client, s3 = aws.client("sagemaker"), aws.client("s3")
    client.create_training_job(
        TrainingJobName="dogbreed-train-1",
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn=ROLE,
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/dogbreed/jobs"},
        ResourceConfig={"InstanceType": "ml.g4dn.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        Tags=TAGS,
    )
    before = [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]

    error = aws.json("tune", "--no-features", "--max-jobs", "4", "--budget", "2.99", "--yes", code=7)
    assert error["error"] == "this may cost 3.00 USD, the budget is 2.99 USD"
    assert f"AWS Price List, {datetime.now():%Y-%m}" in error["why"] and error["fix"]
    unknown = aws.json(
        "train", "--no-features", "--instance-type", "ml.unheard-of.large", "--budget", "99", "--yes", code=7
    )
    assert "unknown" in unknown["error"] and "ml.unheard-of.large" in unknown["why"]
    refused = aws.json("deploy", "--instance-type", "ml.g4dn.xlarge", "--budget", "19", "--yes", code=7)
    assert refused["error"] == "this may cost 19.20 USD a day, the budget is 19.00 USD a day"
    # Within the budget it goes on: here to the question that nobody answers.
    _, asked = aws.run("train", "--no-features", "--budget", "3", code=2)
    assert "at most 3.00 USD" in asked and "AWS Price List, 20" in asked and "--yes" in asked
    shown = aws.json("train", "--no-features", "--dry-run", "--budget", "3")
    assert shown["cost"]["max_usd"] == 3.0 and shown["cost"]["estimate_usd"] is None

    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == before
    assert len(client.list_training_jobs()["TrainingJobSummaries"]) == 1
    assert client.list_hyper_parameter_tuning_jobs()["HyperParameterTuningJobSummaries"] == []
    assert client.list_models()["Models"] == client.list_endpoint_configs()["EndpointConfigs"] == []


def test_status_has_the_price_of_an_endpoint(aws: Aws) -> None:
    client = aws.client("sagemaker")
    client.create_model(ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": IMAGE}, Tags=TAGS)
    variant = {**INSTANCES, "ModelName": "m"}
    client.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant], Tags=TAGS)
    client.create_endpoint(EndpointName="dogbreed-endpoint", EndpointConfigName="c", Tags=TAGS)
    (one,) = aws.json("status")["items"]
    assert one["kind"] == "endpoint" and one["usd_per_hour"] == 1.6
    assert 0 <= one["usd_so_far"] < 1.6 and one["price_source"].startswith("AWS Price List, 20")
    drawn, said = aws.run("status")
    assert "USD an hour" in drawn and "1.6000" in drawn and "not counted: storage" in said


@pytest.mark.parametrize("command", [["tune", "--budget"], ["train", "--min-accuracy"], ["deploy", "--timeout"]])
def test_nan_is_no_limit(command: list[str]) -> None:
    done = CliRunner().invoke(cli, [*command, "nan"])
    assert done.exit_code == 2 and "nan is not a number" in done.output
