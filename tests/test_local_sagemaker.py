"""What the local SageMaker lists, tags and keeps: everything about its records but the work of jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from local_jobs import Machine, machine_in

from dogbreed_cli.local import BUCKET, ROLE_ARN
from dogbreed_cli.local.records import Records


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With twelve ended jobs: `list-00` ... `list-11`, of which `list-03` failed."""
    with machine_in(tmp_path_factory.mktemp("records")) as machine:
        for number in range(12):
            time.sleep(1.1 if number == 6 else 0)  # clients send times in whole seconds
            machine.train(f"list-{number:02d}", "raise SystemExit(1)" if number == 3 else "print('done')")
        for number in range(12):
            machine.ended(f"list-{number:02d}")
        yield machine


def names(machine: Machine, **request: Any) -> list[str]:
    pages = machine.sagemaker.get_paginator("list_training_jobs").paginate(NameContains="list-", **request)
    return [summary["TrainingJobName"] for page in pages for summary in page["TrainingJobSummaries"]]


def test_lists_are_paged_sorted_and_filtered(machine: Machine) -> None:
    everything = [f"list-{number:02d}" for number in range(12)]
    first = machine.sagemaker.list_training_jobs(NameContains="list-")
    assert len(first["TrainingJobSummaries"]) == 10
    assert names(machine) == everything  # by time of creation
    assert names(machine, PaginationConfig={"PageSize": 1}) == everything
    assert names(machine, SortBy="Name", SortOrder="Descending") == everything[::-1]
    assert names(machine, StatusEquals="Failed") == ["list-03"]
    assert names(machine, SortBy="Status")[-1] == "list-03"
    middle = machine.describe("list-06")["CreationTime"].replace(microsecond=0)
    assert names(machine, CreationTimeBefore=middle) == everything[:6]
    assert names(machine, CreationTimeAfter=middle) == everything[6:]
    assert names(machine, LastModifiedTimeAfter=datetime.now(UTC) + timedelta(hours=1)) == []
    assert machine.error("list_training_jobs", NextToken="tomorrow")[0] == "ValidationException"
    plan = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/plan"
    assert "TrainingPlanArnEquals" in machine.error("list_training_jobs", TrainingPlanArnEquals=plan)[1]
    assert names(machine, WarmPoolStatusEquals="Available") == []


def test_summaries_show_what_aws_shows(machine: Machine) -> None:
    summary = machine.sagemaker.list_training_jobs(NameContains="list-03")["TrainingJobSummaries"][0]
    assert set(summary) >= {"TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingEndTime", "TrainingJobStatus"}
    assert "HyperParameters" not in summary


def test_tags(machine: Machine) -> None:
    machine.train("tagged", "print('done')", Tags=[{"Key": "project", "Value": "dogs"}])
    arn = machine.describe("tagged")["TrainingJobArn"]
    machine.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "project", "Value": "cats"}])
    machine.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "never-there"])
    assert machine.sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "project", "Value": "cats"}]
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    assert "at most 50" in machine.error("add_tags", ResourceArn=arn, Tags=many)[1]
    assert len(machine.sagemaker.list_tags(ResourceArn=arn)["Tags"]) == 1
    assert machine.ended("tagged")["TrainingJobStatus"] == "Completed"  # what its worker wrote meanwhile was not lost
    assert machine.error("list_tags", ResourceArn=arn.replace("tagged", "nobody"))[0] == "ResourceNotFound"
    assert machine.error("list_tags", ResourceArn=arn.replace("tagged", "../x"))[0] == "ValidationException"
    assert machine.error("list_tags", ResourceArn=arn.replace("training-job", "app"))[0] == "ValidationException"


def test_models_and_endpoint_configs(machine: Machine) -> None:
    container = {"Image": machine.image, "ModelDataUrl": machine.put("models/m/model.tar.gz", b"any")}
    model = {"ModelName": "m", "ExecutionRoleArn": ROLE_ARN, "PrimaryContainer": container}
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    config = {"EndpointConfigName": "c", "ProductionVariants": [variant]}
    assert machine.error("create_endpoint_config", **config)[1].startswith('Could not find model "arn:aws:sagemaker:')
    machine.sagemaker.create_model(**model)
    machine.sagemaker.create_endpoint_config(**config)
    assert machine.error("create_model", **model)[1].startswith("Cannot create already existing model")
    message = machine.error("create_endpoint_config", **config)[1]
    assert message.startswith("Cannot create already existing endpoint configuration")
    assert machine.sagemaker.describe_model(ModelName="m")["PrimaryContainer"] == container
    assert [entry["ModelName"] for entry in machine.sagemaker.list_models(NameContains="m")["Models"]] == ["m"]
    configs = machine.sagemaker.list_endpoint_configs()["EndpointConfigs"]
    assert [entry["EndpointConfigName"] for entry in configs] == ["c"]
    for url in ("s3://no-such-bucket/m", f"s3://{BUCKET}/no-such-key", "https://host/m", f"s3://{BUCKET}"):
        other = {**model, "ModelName": "other", "PrimaryContainer": {**container, "ModelDataUrl": url}}
        code, message = machine.error("create_model", **other)
        assert (code, message) == ("ValidationException", f"Could not find model data at {url}.")
    for change in ({"EnableNetworkIsolation": True}, {"VpcConfig": {"SecurityGroupIds": ["s"], "Subnets": ["n"]}}):
        assert next(iter(change)) in machine.error("create_model", **{**model, **change})[1]
    machine.sagemaker.delete_endpoint_config(EndpointConfigName="c")
    machine.sagemaker.delete_model(ModelName="m")
    for operation, request in (
        ("describe_model", {"ModelName": "m"}),
        ("delete_model", {"ModelName": "m"}),
        ("describe_endpoint_config", {"EndpointConfigName": "c"}),
        ("delete_endpoint_config", {"EndpointConfigName": "c"}),
        ("describe_endpoint", {"EndpointName": "e"}),
        ("delete_endpoint", {"EndpointName": "e"}),
    ):
        code, message = machine.error(operation, **request)
        assert (code, message[:14]) == ("ValidationException", "Could not find")


SERVERLESS = {"VariantName": "v", "ModelName": "s", "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
CAPTURE = {"InitialSamplingPercentage": 5, "DestinationS3Uri": "s3://b/c", "CaptureOptions": [{"CaptureMode": "Input"}]}


def test_serverless_endpoint_configs(machine: Machine) -> None:
    container = {"Image": machine.image, "ModelDataUrl": machine.put("models/s/model.tar.gz", b"any")}
    machine.sagemaker.create_model(ModelName="s", ExecutionRoleArn=ROLE_ARN, PrimaryContainer=container)
    request = {"EndpointConfigName": "s", "ProductionVariants": [SERVERLESS]}
    off = {**CAPTURE, "EnableCapture": False}
    machine.sagemaker.create_endpoint_config(**request, DataCaptureConfig=off)
    described = machine.sagemaker.describe_endpoint_config(EndpointConfigName="s")
    assert (described["ProductionVariants"], described["DataCaptureConfig"]) == ([SERVERLESS], off)
    machine.sagemaker.delete_endpoint_config(EndpointConfigName="s")
    sizes = SERVERLESS["ServerlessConfig"]
    for change, words in (
        ({"ServerlessConfig": {**sizes, "MemorySizeInMB": 1500}}, "Invalid MemorySizeInMB 1500"),
        ({"ServerlessConfig": {**sizes, "MemorySizeInMB": 7168}}, "less than or equal to 6144"),
        ({"ServerlessConfig": {**sizes, "MaxConcurrency": 201}}, "less than or equal to 200"),
        ({"ServerlessConfig": {**sizes, "ProvisionedConcurrency": 1}}, "ServerlessConfig.ProvisionedConcurrency"),
        ({"InstanceType": "ml.m5.large"}, "together with ServerlessConfig"),
    ):
        variants = [{**SERVERLESS, **change}]
        refused = machine.error("create_endpoint_config", EndpointConfigName="s", ProductionVariants=variants)
        assert (refused[0], words in refused[1]) == ("ValidationException", True), refused
    assert "DataCaptureConfig" in machine.error("create_endpoint_config", **request, DataCaptureConfig=CAPTURE)[1]
    assert "KmsKeyId" in machine.error("create_endpoint_config", **request, KmsKeyId="key")[1]
    neither = {"EndpointConfigName": "s", "ProductionVariants": [{"VariantName": "v", "ModelName": "s"}]}
    assert "InstanceType, are required" in machine.error("create_endpoint_config", **neither)[1]


def test_an_operation_that_is_not_there_says_so(machine: Machine) -> None:
    code, message = machine.error("list_notebook_instances")
    assert code == "UnknownOperationException"
    assert "does not implement ListNotebookInstances" in message


RACE = """
import json, sys, time
from pathlib import Path
from dogbreed_cli.local import Home, connect
client = connect(Home(Path(sys.argv[1]))).client("sagemaker")
request = json.loads(sys.argv[2])
while time.time() < float(sys.argv[3]):
    pass
try:
    client.create_training_job(**request)
    print("won")
except client.exceptions.ResourceInUse:
    print("lost")
"""


def test_of_two_processes_that_create_the_same_job_one_wins(machine: Machine) -> None:
    request = json.dumps(machine.training("raced", "print('ran'); import time; time.sleep(1)"))
    begin = str(time.time() + 2)
    command = [sys.executable, "-c", RACE, str(machine.home.root), request, begin]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(racer.communicate(timeout=60)[0].strip() for racer in racers) == ["lost", "lost", "won"]
    assert machine.ended("raced")["TrainingJobStatus"] == "Completed"
    assert machine.log("raced").count("ran") == 1


COUNT = """
import sys
from pathlib import Path
from dogbreed_cli.local.records import Records
records = Records(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    records.update("thing", "counter", lambda record: record.update(n=record["n"] + 1, filler="x" * 100_000))
"""


def test_records_survive_writers_that_are_killed(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.create("thing", "counter", {"n": 0})
    for _ in range(5):
        writers = [
            subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)
        ]
        try:
            before = (records.read("thing", "counter") or {})["n"]
            wait_for(lambda before=before: (records.read("thing", "counter") or {})["n"] > before + 5)  # type: ignore[misc]
        finally:
            for writer in writers:
                writer.kill()
                writer.communicate()
        assert [record["n"] for record in records.all("thing")] == [(records.read("thing", "counter") or {})["n"]]
        records.update("thing", "counter", lambda record: record.update(n=0))  # nobody holds the lock any more


def test_no_update_is_lost_between_processes(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.create("thing", "counter", {"n": 0})
    script = COUNT.replace("while True", "for _ in range(300)")
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(3)
    ]
    for writer in writers:
        writer.communicate(timeout=60)
    assert (records.read("thing", "counter") or {})["n"] == 900
    with pytest.raises(FileExistsError):
        records.create("thing", "counter", {})
    assert records.update("thing", "nobody", lambda record: record.clear()) is None
