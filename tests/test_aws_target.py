"""The target aws against AWS's interfaces, served by moto over HTTP: the same commands, real requests.

moto's jobs are Completed and its endpoints InService as soon as they are created, and it runs nothing. What it refuses,
or cannot do, stands here as a test with the reason: the same commands on jobs that really run, through the same SDK,
are in test_serve_pipeline.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from conftest import Dogbreed, InProcess
from moto.moto_api import recorder
from moto.server import ThreadedMotoServer

ROLE = "arn:aws:iam::123456789012:role/dogbreed"
BUCKET = "sagemaker-us-east-1-123456789012"
# What the SDK would look up is not the point here, and takes it four seconds.
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8-gpu-py312"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dogbreed]:
    """A project on moto's AWS; nothing is there yet."""
    folder = tmp_path_factory.mktemp("aws")
    (folder / "calls").touch()
    recorder._location = str(folder / "calls")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    recorder.start_recording()
    host, port = server.get_host_and_port()
    # What moto remembers is the process's, not the server's.
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=60).raise_for_status()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ENDPOINT_URL_PRICING": "http://127.0.0.1:9",  # moto has no Price List, and prints that on stdout
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_MAX_ATTEMPTS": "2",
        "DOGBREED_TARGET": "aws",
        "DOGBREED_AWS__REGION": "us-east-1",
        "DOGBREED_AWS__ROLE_ARN": ROLE,
        "DOGBREED_AWS__TRAINING_IMAGE": IMAGE,
        "DOGBREED_AWS__INFERENCE_IMAGE": IMAGE.replace("training", "inference"),
    }
    yield InProcess(folder, environment)
    recorder.stop_recording()
    server.stop()


def open_client(aws: Dogbreed, service: str):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, "us-east-1", endpoint_url=aws.environment["AWS_ENDPOINT_URL"], **keys)


def changes(aws: Dogbreed) -> list[str]:
    """Every call since the last time that asks for more than to be told something."""
    calls = aws.folder / "calls"
    entries = [json.loads(line) for line in calls.read_text().splitlines()]
    calls.write_text("")
    found = [name for entry in entries if (name := operation(entry)) and not name.startswith(("Get", "List", "Desc"))]
    return [name for name in found if not name.startswith("HEAD ")]


def operation(entry: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    if "x-amz-target" in headers:
        return headers["x-amz-target"].rpartition(".")[2]
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return base64.b64decode(entry["body"]).decode().partition("Action=")[2].partition("&")[0]
    path = entry["url"].partition("//")[2].partition("/")[2]
    return f"Get {path}" if entry["method"] == "GET" else f"{entry['method']} {path}"


def refuse_without_yes(aws: Dogbreed, *command: str) -> None:
    """Shows its plan, then exits with 2 since nobody can be asked; nothing has changed by then."""
    changes(aws)
    done = aws.run(*command, code=2)
    assert "--yes" in done.stderr
    assert (aws.folder / "calls").stat().st_size, "nothing was recorded"
    assert changes(aws) == []


def test_upload_is_in_sagemakers_default_bucket(aws: Dogbreed, dogs: Path) -> None:
    refuse_without_yes(aws, "upload", str(dogs))
    told = aws.run("upload", str(dogs), "--yes").stderr
    assert f"s3://{BUCKET}/dogbreed/data: 168 images" in told and "the bucket is created" in told
    sent = changes(aws)
    assert sent[0] == f"PUT {BUCKET}"
    assert all(one.startswith(f"PUT {BUCKET}/dogbreed/data/") for one in sent[1:])
    listed = open_client(aws, "s3").list_objects_v2(Bucket=BUCKET, Prefix="dogbreed/data/train/")
    assert listed["KeyCount"] == 96
    assert not (aws.folder / ".dogbreed").exists()
    aws.run("upload", str(dogs))  # nothing to send, so nothing to ask
    assert changes(aws) == []


def test_nothing_that_costs_starts_without_a_yes(aws: Dogbreed) -> None:
    refuse_without_yes(aws, "train")
    refuse_without_yes(aws, "tune", "--max-jobs", "1")


def test_a_dry_run_changes_nothing(aws: Dogbreed) -> None:
    assert aws.json("tune", "--dry-run")["dry_run"][0]["HyperParameterTuningJobName"] == "dogbreed-tune"
    assert aws.json("train", "--dry-run")["dry_run"][0]["TrainingJobName"] == "dogbreed-train"
    assert changes(aws) == []


def test_train_sends_what_the_dry_run_shows(aws: Dogbreed) -> None:
    (shown,) = aws.json("train", "--dry-run")["dry_run"]
    done = aws.json("train", "--yes")
    assert done["status"] == "Completed"
    name = done["training_job"]
    sent = open_client(aws, "sagemaker").describe_training_job(TrainingJobName=name)
    assert sent["TrainingJobName"].startswith("dogbreed-train-")
    for member in ("HyperParameters", "InputDataConfig", "OutputDataConfig", "ResourceConfig", "StoppingCondition"):
        assert sent[member] == shown[member]
    assert sent["AlgorithmSpecification"]["TrainingImage"] == IMAGE
    assert (sent["RoleArn"], sent["CheckpointConfig"]) == (ROLE, shown["CheckpointConfig"])
    assert "DebugHookConfig" not in shown, "which AWS refuses to new customers"
    uri = shown["HyperParameters"]["sagemaker_submit_directory"].strip('"')
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    assert open_client(aws, "s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 1000
    # The scripts are packed and sent once, the job is created once.
    assert changes(aws) == [f"PUT {bucket}/{key}", "CreateTrainingJob"]


def test_the_features_job_comes_before_the_training(aws: Dogbreed) -> None:
    plan = aws.json("train", "--features", "--dry-run")
    assert [one["InputDataConfig"][0]["ChannelName"] for one in plan["dry_run"]] == ["train", "features"]
    assert plan["features_cost"]["max_usd"] == plan["cost"]["max_usd"]
    job = plan["features_job"]
    bucket, _, key = plan["dry_run"][1]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"][5:].partition("/")
    assert f"/{job}/output/model/" in f"/{key}"
    s3 = open_client(aws, "s3")
    # moto's job has Completed and left nothing, which is not what was waited for.
    failed = aws.json("train", "--features", "--yes", code=5)
    assert "no features.json" in failed["why"]
    s3.put_object(Bucket=bucket, Key=f"{key}features.json", Body=b"{}")
    changes(aws)
    done = aws.json("train", "--features", "--yes")
    assert (done["features_job"], changes(aws)) == (job, ["CreateTrainingJob"])
    assert "features_cost" not in done, "they were there"
    assert {one["kind"] for one in aws.json("status", "--all")["items"]} >= {"features job", "training job"}


def test_tune_creates_and_moto_knows_no_trials(aws: Dogbreed) -> None:
    name = aws.json("tune", "--max-jobs", "1", "--yes", "--no-wait")["tuning_job"]
    assert changes(aws) == ["CreateHyperParameterTuningJob"]
    described = open_client(aws, "sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    assert described["HyperParameterTuningJobStatus"] == "Completed"
    # Refused: moto has no ListTrainingJobsForHyperParameterTuningJob, so nobody can follow the trials there.
    error = aws.json("tune", "--attach", name, code=1)
    assert "ListTrainingJobsForHyperParameterTuningJob" in error["error"] + error["why"]


def test_deploy_asks_then_creates_through_the_sdk(aws: Dogbreed) -> None:
    refuse_without_yes(aws, "deploy")
    done = aws.json("deploy", "--yes")
    assert done["status"] == "InService"
    assert changes(aws) == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    again = aws.json("deploy")
    assert (again["endpoint_config"], changes(aws)) == (done["endpoint_config"], [])
    (endpoint,) = aws.json("status")["items"]
    assert (endpoint["kind"], endpoint["name"]) == ("endpoint", "dogbreed-endpoint")


def test_logs_report_and_predict_as_far_as_moto_goes(aws: Dogbreed, dogs: Path) -> None:
    # moto's jobs say nothing and leave nothing in S3; and its InvokeEndpoint cannot read a body that is no text.
    assert aws.json("logs")["lines"] == []
    assert aws.json("report")["job"]["status"] == "Completed"
    picture = next((dogs / "test").rglob("*.jpg"))
    failed = aws.json("predict", str(picture), code=1)
    assert json.dumps(failed).count("dogbreed-endpoint") or failed["error"]
    assert changes(aws) in ([], ["POST endpoints/dogbreed-endpoint/invocations"] * 2)


def test_a_missing_role_is_named(aws: Dogbreed) -> None:
    without = InProcess(aws.folder, {k: v for k, v in aws.environment.items() if k != "DOGBREED_AWS__ROLE_ARN"})
    error = without.json("train", code=2)
    assert "aws.role_arn" in error["fix"]


def test_teardown_takes_all_of_it_and_asks_first(aws: Dogbreed) -> None:
    refuse_without_yes(aws, "teardown", "--data")
    planned = aws.json("teardown", "--data", "--dry-run")["planned"]
    assert changes(aws) == []
    removed = aws.json("teardown", "--data", "--yes")["removed"]
    assert removed == planned
    assert [item["kind"] for item in removed] == ["endpoint", "endpoint-config", "model", "S3 prefix"]
    done = changes(aws)
    assert done[:3] == ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert all(one.startswith("POST ") for one in done[3:])
    assert open_client(aws, "s3").list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    assert aws.json("status")["items"] == []
