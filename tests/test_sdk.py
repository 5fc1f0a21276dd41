"""Creation through sagemaker.core: what it sends is what requests.py built, whatever the SDK does on the way.

The server is moto over HTTP. Every refusal of moto's in here is one of moto's own, named where it happens.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from failing_aws import failing_aws
from moto.server import ThreadedMotoServer
from sent_requests import CLOSED, EARLIER, FULL, INPUTS, JOB, SITE, WITH_WEIGHTS, serving
from settings import settings

from dogbreed_cli import requests, sdk
from dogbreed_cli.aws_errors import explain
from dogbreed_cli.console import Console
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.session import Session, open_session
from dogbreed_cli.tags import TUNING_JOB_TAG


@pytest.fixture(scope="module", autouse=True)
def no_config_of_the_sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The SDK reads its config files when it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("sdk"))
        for variable in [name for name in os.environ if name.startswith(("DOGBREED_", "AWS_"))]:
            patch.delenv(variable)
        yield


@pytest.fixture(scope="module")
def boto() -> boto3.Session:
    return boto3.Session("test", "test", region_name="us-east-1")


@pytest.fixture(scope="module")
def client(boto: boto3.Session) -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield boto.client("sagemaker", endpoint_url=f"http://{host}:{port}")
    server.stop()


def create(boto: boto3.Session, client: Any, resource: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every creation that went out, as botocore was given it."""
    sent: list[dict[str, Any]] = []

    def remember(params: dict[str, Any], **_: Any) -> None:
        sent.append(params)

    event = f"before-parameter-build.sagemaker.Create{resource}"
    client.meta.events.register(event, remember)
    try:
        sdk.create(boto, client, resource, request)
    finally:
        client.meta.events.unregister(event, remember)
    return sent


@pytest.mark.parametrize("full", [False, True], ids=["default", "full"])
def test_what_is_sent_is_what_was_built(boto: boto3.Session, client: Any, full: bool) -> None:
    config, site = (settings(*FULL), CLOSED) if full else (settings(), SITE)
    suffix = "full" if full else "default"
    made = serving(config, site, f"{JOB}-{suffix}")
    for resource, request in {
        "TrainingJob": requests.training(
            config, site, INPUTS, f"train-{suffix}", {"lr": 0.003}, {TUNING_JOB_TAG: "dogbreed-tune-1"}
        ),
        "HyperParameterTuningJob": requests.tuning(config, site, WITH_WEIGHTS, f"tune-{suffix}", [EARLIER]),
        # moto answers DescribeModel and DescribeEndpointConfig with {} for VpcConfig and DataCaptureConfig, which the
        # SDK cannot read: that must not look like a creation that failed.
        "Model": made["CreateModel"],
        "EndpointConfig": made["CreateEndpointConfig"],
        "Endpoint": {**made["CreateEndpoint"], "EndpointName": f"endpoint-{suffix}"},
    }.items():
        assert create(boto, client, resource, request) == [request], resource
    client.describe_endpoint(EndpointName=f"endpoint-{suffix}")


def test_a_request_that_the_sdk_would_change_is_not_sent(boto: boto3.Session, client: Any) -> None:
    request = requests.training(settings(), SITE, INPUTS, "changed", {})
    request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = 0  # the SDK drops it
    with pytest.raises(DogbreedError, match="ResourceConfig"):
        create(boto, client, "TrainingJob", request)
    names = [job["TrainingJobName"] for job in client.list_training_jobs()["TrainingJobSummaries"]]
    assert "changed" not in names


def test_a_refusal_is_botocores_own_error(boto: boto3.Session, client: Any) -> None:
    request = serving(settings(), SITE, "no-model")["CreateEndpointConfig"]
    with pytest.raises(client.exceptions.ClientError, match="Could not find model"):
        create(boto, client, "EndpointConfig", request)


def test_nothing_on_stdout_and_no_other_host(boto: boto3.Session, client: Any, capfd: pytest.CaptureFixture) -> None:
    create(boto, client, "TrainingJob", requests.training(settings(), SITE, INPUTS, "silent", {}))
    assert capfd.readouterr().out == ""
    # The SDK's own clients, which would go to AWS, are never asked: ours stands in their place.
    from sagemaker.core.utils.utils import SageMakerClient

    assert SageMakerClient(session=boto, region_name="us-east-1").get_client("sagemaker") is client
    assert not Path(".sagemaker").exists()


def test_a_creation_is_tried_as_often_as_our_client_may_and_no_oftener(boto: boto3.Session) -> None:
    retries = Config(retries={"mode": "adaptive", "total_max_attempts": 2})
    with failing_aws() as aws:
        client = boto.client("sagemaker", endpoint_url=aws.url, config=retries)
        with pytest.raises(client.exceptions.ClientError) as caught:
            sdk.create(boto, client, "TrainingJob", requests.training(settings(), SITE, INPUTS, "failing", {}))
    assert dict(aws.asked) == {"CreateTrainingJob": 2}
    assert "tried 2 times" in str(explain(caught.value))


def aws_session(monkeypatch: pytest.MonkeyPatch, *assignments: str) -> Session:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    settings_of_aws = ("target=aws", f"aws.role_arn={SITE.role_arn}", "aws.bucket=bucket")
    return open_session(settings(*settings_of_aws, *assignments), Console())


def test_images_come_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    session = aws_session(monkeypatch, "aws.region=eu-central-1", "debugger.aws_rules=true")
    site = session.training_site()
    assert re.fullmatch(r"\d{12}\.dkr\.ecr\.eu-central-1\.amazonaws\.com/pytorch-training:2\.8-gpu-py312", site.image)
    assert re.fullmatch(r"\d{12}\.dkr\.ecr\.eu-central-1\.amazonaws\.com/sagemaker-debugger-rules:\w+", site.rule_image)
    assert "pytorch-inference:2.6-cpu-" in session.inference_image()
    gpu = ("aws.region=us-east-1", "deploy.instance_type=ml.g5.xlarge", "train.instance_type=ml.m5.large")
    assert "pytorch-inference:2.6-gpu-" in aws_session(monkeypatch, *gpu).inference_image()
    assert "pytorch-inference:2.6-cpu-" in aws_session(monkeypatch, *gpu, "deploy.serverless=true").inference_image()
    ray = aws_session(monkeypatch, *gpu, "deploy.container=ray").inference_image()
    assert re.fullmatch(r"\d{12}\.dkr\.ecr\.us-east-1\.amazonaws\.com/ray:serve-ml-sagemaker-cuda-v1\.1", ray)
    assert "pytorch-training:2.8-cpu-" in aws_session(monkeypatch, *gpu).training_image()
    assert aws_session(monkeypatch, *gpu, "aws.training_image=mine:1").training_site().image == "mine:1"


def test_a_region_without_images_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    session = aws_session(
        monkeypatch, "aws.region=il-central-1", "aws.training_image=mine:1", "debugger.aws_rules=true"
    )
    with pytest.raises(DogbreedError, match="no debugger image for il-central-1"):
        session.training_site()
