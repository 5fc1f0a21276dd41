"""PyPI's `aws` against `dogbreed local serve`: S3, a training job that a script of its own starts, its log.

`aws logs tail` exists in version 2 of `aws` alone, which is not on PyPI; the calls that it makes are made with boto3.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import wait_for
from local_jobs import Machine, machine_in
from served import Served, serve

LOGS = "/aws/sagemaker/TrainingJobs"


@dataclass(frozen=True)
class Place:
    served: Served
    machine: Machine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with machine_in(tmp_path_factory.mktemp("aws")) as machine, serve(machine.home) as served:
        served.aws("s3", "mb", "s3://dogbreed-local")
        yield Place(served, machine)
        assert served.end() == 0
        assert "Traceback" not in "".join(served.lines)


def test_who_one_is(place: Place) -> None:
    identity = json.loads(place.served.run("-m", "awscli", "sts", "get-caller-identity"))
    assert identity["Account"] == "000000000000"
    role = json.loads(place.served.aws("iam", "get-role", "--role-name", "dogbreed-local"))["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}


def test_s3_cp_sync_ls_and_rm(place: Place, tmp_path: Path) -> None:
    def s3(*arguments: str) -> list[str]:
        return place.served.aws("s3", *arguments).splitlines()

    up, down = str(tmp_path / "up"), str(tmp_path / "down")

    big = random.Random(1).randbytes(9 << 20)
    files = {"big.bin": big, "a b/ä ö+&.txt": b"text", "日本/🐕.jpg": b"dog", "plain": b""}
    for name, data in files.items():
        (tmp_path / "up" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "up" / name).write_bytes(data)
    quiet = "--no-progress"
    assert len(s3("sync", quiet, up, "s3://dogbreed-local/up")) == 4
    assert s3("sync", quiet, up, "s3://dogbreed-local/up") == []
    wait_for(lambda: ("s3:CompleteMultipartUpload", 200) in place.served.calls)
    listed = {line.split(None, 3)[3]: int(line.split()[2]) for line in s3("ls", "--recursive", "s3://dogbreed-local")}
    assert listed == {f"up/{name}": len(data) for name, data in files.items()}
    assert [line.split()[-2:] for line in s3("ls", "s3://dogbreed-local")] == [["PRE", "up/"]]
    # Copied by S3 itself, in parts too.
    s3("cp", quiet, "--recursive", "s3://dogbreed-local/up", "s3://dogbreed-local/copy")
    wait_for(lambda: ("s3:UploadPartCopy", 200) in place.served.calls)
    s3("cp", quiet, "--recursive", "s3://dogbreed-local/copy", down)
    found = {str(path.relative_to(tmp_path / "down")): path for path in (tmp_path / "down").rglob("*")}
    assert {name: path.read_bytes() for name, path in found.items() if path.is_file()} == files
    s3("cp", quiet, f"{up}/a b/ä ö+&.txt", "s3://dogbreed-local/one key")
    s3("rm", "s3://dogbreed-local/one key")
    s3("rm", "--recursive", "s3://dogbreed-local/up")
    s3("rm", "--recursive", "s3://dogbreed-local/copy")
    assert s3("ls", "--recursive", "s3://dogbreed-local/") == []


def test_s3_errors_are_shown(place: Place) -> None:
    said = place.served.aws("s3", "ls", "s3://nosuchbucket", code=255)
    assert "(NoSuchBucket) when calling the ListObjectsV2 operation: The specified bucket does not exist" in said


def test_a_training_job(place: Place, tmp_path: Path) -> None:
    def sagemaker(*arguments: str, code: int = 0) -> str:
        return place.served.aws("sagemaker", *arguments, code=code)

    script = "print('epoch=1 test:accuracy=0.5')\nprint('said last')\n"
    request = place.machine.training("typed-1", script, metrics=("test:accuracy",))
    (tmp_path / "job.json").write_text(json.dumps(request))
    created = json.loads(sagemaker("create-training-job", "--cli-input-json", f"file://{tmp_path / 'job.json'}"))
    assert created["TrainingJobArn"] == "arn:aws:sagemaker:us-east-1:000000000000:training-job/typed-1"
    place.machine.ended("typed-1")
    sagemaker("wait", "training-job-completed-or-stopped", "--training-job-name", "typed-1")
    described = json.loads(sagemaker("describe-training-job", "--training-job-name", "typed-1"))
    assert described["TrainingJobStatus"] == "Completed"
    assert described["HyperParameters"] == request["HyperParameters"]
    assert [(metric["MetricName"], metric["Value"]) for metric in described["FinalMetricDataList"]] == [
        ("test:accuracy", 0.5)
    ]
    listed = json.loads(sagemaker("list-training-jobs", "--name-contains", "typed", "--status-equals", "Completed"))
    assert [job["TrainingJobName"] for job in listed["TrainingJobSummaries"]] == ["typed-1"]
    again = sagemaker("create-training-job", "--cli-input-json", f"file://{tmp_path / 'job.json'}", code=255)
    assert "(ResourceInUse) when calling the CreateTrainingJob operation" in again
    assert "Requested resource not found" in sagemaker("describe-training-job", "--training-job-name", "x", code=255)


def test_its_log(place: Place, tmp_path: Path) -> None:
    place.machine.train("talker", "print('first word')\nprint('last word')\n")
    place.machine.ended("talker")
    named = ("--log-group-name", LOGS)
    text = place.served.aws(
        "logs", "filter-log-events", *named, "--log-stream-name-prefix", "talker/", "--query", "events[].message"
    )
    assert [line for line in json.loads(text) if line.endswith("word")] == ["first word", "last word"]
    streams = json.loads(place.served.aws("logs", "describe-log-streams", *named))["logStreams"]
    stream = next(one["logStreamName"] for one in streams if one["logStreamName"].startswith("talker/"))
    events = json.loads(place.served.aws("logs", "get-log-events", *named, "--log-stream-name", stream))["events"]
    assert "last word" in [event["message"] for event in events]


def test_the_calls_of_logs_tail(place: Place) -> None:
    """As `aws logs tail --follow` of version 2 makes them: all streams interleaved, then from the last event on."""
    place.machine.train("tailed", "print('one')\nprint('two')\n")
    place.machine.ended("tailed")
    logs = place.served.client("logs")
    for group in (
        {"logGroupName": LOGS},
        {"logGroupIdentifier": f"arn:aws:logs:us-east-1:000000000000:log-group:{LOGS}"},
    ):
        pages = logs.get_paginator("filter_log_events").paginate(**group, interleaved=True, startTime=0)
        events = [event for page in pages for event in page["events"]]
        assert [event["message"] for event in events if event["message"] in ("one", "two")] == ["one", "two"]
    last = max(event["timestamp"] for event in events)
    known = {event["eventId"] for event in events}
    place.machine.train("tailed-2", "print('three')\n")
    place.machine.ended("tailed-2")
    more = logs.filter_log_events(logGroupName=LOGS, interleaved=True, startTime=last)["events"]
    assert "three" in [event["message"] for event in more if event["eventId"] not in known]


def test_waiters_paginators_and_typed_errors_of_boto3(place: Place) -> None:
    client = place.served.client("sagemaker")
    for number in range(3):
        place.machine.train(f"paged-{number}", "pass")
    waiter = client.get_waiter("training_job_completed_or_stopped")
    for number in range(3):
        waiter.wait(TrainingJobName=f"paged-{number}", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    pages = client.get_paginator("list_training_jobs").paginate(NameContains="paged", MaxResults=1)
    names = [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]
    assert sorted(names) == ["paged-0", "paged-1", "paged-2"]
    with pytest.raises(client.exceptions.ResourceInUse):
        client.create_training_job(**place.machine.training("paged-0"))
    s3 = place.served.client("s3")
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="dogbreed-local", Key="nothing")
    wait_for(lambda: ("sagemaker:CreateTrainingJob", 400) in place.served.calls)
