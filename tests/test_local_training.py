"""Training jobs on this machine, from the request to the artifacts; the first two under AWS's own toolkit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from local_jobs import Machine, machine_in

from dogbreed_cli.local import BUCKET

# Says that it runs, waits until the test has changed the data in S3, then tells everything it sees.
TELL_ALL = """
import argparse, json, os, pathlib, time
parser = argparse.ArgumentParser()
for name in ("--lr", "--words", "--go"):
    parser.add_argument(name)
given = vars(parser.parse_args())
print("ready")
while not os.path.exists(given["go"]):
    time.sleep(0.05)
data = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
files = {path.relative_to(data).as_posix(): path.read_text() for path in data.rglob("*") if path.is_file()}
links = {path.name: path.stat().st_nlink for path in data.rglob("*") if path.is_file()}
for epoch in range(3):
    print(f"epoch {epoch} loss={1.0 - epoch / 4} accuracy={epoch / 4}")
print("loss=nan accuracy=none")
seen = {"given": given, "files": files, "links": links, "environment": dict(os.environ)}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json").write_text(json.dumps(seen))
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
(model / "code").mkdir()
(model / "code" / "serve.py").write_text("# serves")
(model / "model.bin").write_bytes(bytes(range(256)) * 1000)
"""
RAISE = """
import os, pathlib
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "partial.txt").write_text("so far")
raise ValueError("there are no dogs in this picture")
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, image_python: Path) -> Iterator[Machine]:
    """Two jobs in the real image at once: `good`, which read its data while S3 changed, and `bad`, which raised."""
    folder = tmp_path_factory.mktemp("real")
    with machine_in(folder, image_python.as_uri()) as machine, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "DOGBREED_SECRET", "MY_TOKEN"):
            patch.setenv(name, "secret-of-the-caller")
        patch.setenv("PYTHONPATH", f"{os.environ.get('PYTHONPATH', '')}:/caller")
        machine.put("data/train/a/1.txt", b"one")
        machine.put("data/train/b/2.txt", b"two")
        machine.put("data/valid/3.txt", b"three")
        given = {"lr": 0.25, "words": "a b; touch injected", "go": str(folder / "go")}
        machine.train(
            "good",
            TELL_ALL,
            hyperparameters=given,
            channels={"train": f"s3://{BUCKET}/data/train/"},
            metrics=["loss", "accuracy"],
            Environment={"FROM_REQUEST": "yes"},
        )
        machine.train("bad", RAISE)
        wait_for(lambda: machine.said("good", "ready"))
        machine.put("data/train/a/1.txt", b"changed")
        machine.s3.delete_object(Bucket=BUCKET, Key="data/train/b/2.txt")
        machine.put("data/train/c/4.txt", b"new")
        (folder / "go").touch()
        machine.ended("good")
        machine.ended("bad")
        yield machine


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("quick")) as machine:
        yield machine


def seen_by_good(machine: Machine) -> dict[str, Any]:
    return json.loads(machine.unpack("good", "output.tar.gz")["seen.json"])


def test_statuses_follow_one_another(real: Machine) -> None:
    job = real.describe("good")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Completed", "Completed")
    steps = job["SecondaryStatusTransitions"]
    assert [step["Status"] for step in steps] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    times = [moment for step in steps for moment in (step["StartTime"], step["EndTime"])]
    assert times == sorted(times)
    assert job["CreationTime"] <= job["TrainingStartTime"] < job["TrainingEndTime"] <= job["LastModifiedTime"]
    seconds = (job["TrainingEndTime"] - job["TrainingStartTime"]).total_seconds()
    assert job["BillableTimeInSeconds"] == job["TrainingTimeInSeconds"] == max(1, round(seconds))
    assert "FailureReason" not in job


def test_last_value_of_a_metric_is_final(real: Machine) -> None:
    metrics = {entry["MetricName"]: entry["Value"] for entry in real.describe("good")["FinalMetricDataList"]}
    assert metrics == {"loss": 0.5, "accuracy": 0.5}


def test_artifacts_are_in_s3(real: Machine) -> None:
    uri = f"s3://{BUCKET}/jobs/good/output/model.tar.gz"
    assert real.describe("good")["ModelArtifacts"] == {"S3ModelArtifacts": uri}
    model = real.unpack("good", "model.tar.gz")
    assert model == {"model.bin": bytes(range(256)) * 1000, "code/serve.py": b"# serves"}
    assert set(real.unpack("good", "output.tar.gz")) == {"seen.json"}


def test_hyperparameters_and_environment_arrive_and_nothing_of_the_callers(real: Machine) -> None:
    seen = seen_by_good(real)
    assert seen["given"]["lr"] == "0.25"
    assert seen["given"]["words"] == "a b; touch injected"
    environment = seen["environment"]
    assert environment["FROM_REQUEST"] == "yes"
    assert environment["AWS_REGION"] == "us-east-1"
    assert "secret-of-the-caller" not in environment.values()
    assert "/caller" not in environment.get("PYTHONPATH", "")
    assert not [name for name in environment if name.startswith("DOGBREED_")]


def test_a_job_keeps_the_data_it_started_with(real: Machine) -> None:
    seen = seen_by_good(real)
    assert seen["files"] == {"a/1.txt": "one", "b/2.txt": "two"}
    assert real.get(f"s3://{BUCKET}/data/train/a/1.txt") == b"changed"


def test_log_is_in_cloudwatch(real: Machine) -> None:
    streams = real.session.client("logs").describe_log_streams(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix="good/"
    )["logStreams"]
    assert [stream["logStreamName"].startswith("good/algo-1-") for stream in streams] == [True]
    assert "epoch 2 loss=0.5 accuracy=0.5" in real.log("good")


def test_a_script_that_raises_fails_with_its_own_words(real: Machine) -> None:
    job = real.describe("bad")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert "there are no dogs in this picture" in job["FailureReason"]
    assert job["FailureReason"].endswith("exit code: 1")
    assert "there are no dogs in this picture" in real.log("bad")
    assert real.keys("jobs/bad/output/") == ["output.tar.gz"]
    assert real.unpack("bad", "output.tar.gz") == {"partial.txt": b"so far"}


def test_an_ended_job_leaves_its_log_alone_behind(real: Machine) -> None:
    wait_for(lambda: not real.processes())
    left = {path.name for name in ("good", "bad") for path in (real.home.jobs / name).iterdir()}
    assert left == {"worker.log", "worker.lock", "group.json"}


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/data/nothing-here/", "s3://no-such-bucket/data/"])
def test_missing_data_fails_as_on_aws(quick: Machine, uri: str) -> None:
    name = f"no-data-{uri.count('such')}"
    quick.train(name, "print('never')", channels={"train": uri})
    job = quick.ended(name)
    assert job["TrainingJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "{uri}"' in job["FailureReason"]
    assert [step["Status"] for step in job["SecondaryStatusTransitions"]] == ["Starting", "Downloading", "Failed"]


def test_broken_source_and_missing_source_fail_as_the_clients_fault(quick: Machine) -> None:
    places = {"broken": quick.put("code/broken.tar.gz", b"no archive"), "absent": f"s3://{BUCKET}/code/absent.tar.gz"}
    for name, uri in places.items():
        quick.train(name, hyperparameters={"sagemaker_program": "train.py", "sagemaker_submit_directory": uri})
    for name in places:
        job = quick.ended(name)
        assert job["TrainingJobStatus"] == "Failed"
        assert job["FailureReason"].startswith("ClientError: ")
        assert f"{name}.tar.gz" in job["FailureReason"]


def test_output_that_cannot_be_uploaded_fails(quick: Machine) -> None:
    nowhere = {"S3OutputPath": "s3://no-such-bucket/jobs"}
    quick.train("unplaced", "print('done')", OutputDataConfig=nowhere)
    quick.train("unplaced-and-bad", "raise SystemExit(3)", OutputDataConfig=nowhere)
    assert "Artifact upload failed" in quick.ended("unplaced")["FailureReason"]
    # Why it failed in the first place matters more.
    assert "train.py ended with 3" in quick.ended("unplaced-and-bad")["FailureReason"]


def test_odd_metrics_neither_count_nor_disturb(quick: Machine) -> None:
    request = quick.training("odd-metrics", "print('loss=0.5 word=many'); print('loss=inf'); print('loss=1e400')")
    request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "loss", "Regex": r"loss=(\S+)"},
        {"Name": "word", "Regex": r"word=(\S+)"},
        {"Name": "groupless", "Regex": "loss="},
        {"Name": "optional", "Regex": "loss(x)?="},
    ]
    quick.sagemaker.create_training_job(**request)
    job = quick.ended("odd-metrics")
    assert job["TrainingJobStatus"] == "Completed"
    assert [(entry["MetricName"], entry["Value"]) for entry in job["FinalMetricDataList"]] == [("loss", 0.5)]


def test_thousands_of_metrics_are_all_read(quick: Machine) -> None:
    quick.train("chatty", "for step in range(4000): print(f'step {step} loss={step}')", metrics=["loss"])
    assert quick.ended("chatty")["FinalMetricDataList"][0]["Value"] == 3999
    assert quick.log("chatty").count("step") == 4000


def test_a_script_may_make_its_folders_anew(quick: Machine) -> None:
    quick.train(
        "tidy", "import os, shutil\nfor n in ('MODEL', 'OUTPUT_DATA'): shutil.rmtree(os.environ[f'SM_{n}_DIR'])"
    )
    assert quick.ended("tidy")["TrainingJobStatus"] == "Completed"
    assert quick.keys("jobs/tidy/output/") == ["model.tar.gz"]


WRITE_FILES = """
import os, pathlib, sys
model, data = (pathlib.Path(os.environ[name]) for name in ("SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR"))
(model / "deep").mkdir()
(model / "deep" / "weights.bin").write_bytes(b"weights")
(model / "linked.bin").symlink_to("deep/weights.bin")
(data / "scores.csv").write_text("1")
sys.exit("--bad" in sys.argv)
"""


def test_output_without_compression_is_plain_files(quick: Machine) -> None:
    plain = {"S3OutputPath": f"s3://{BUCKET}/jobs/", "CompressionType": "NONE"}
    quick.train("plain", WRITE_FILES, OutputDataConfig=plain)
    quick.train("plain-bad", WRITE_FILES, OutputDataConfig=plain, hyperparameters={"bad": 1})
    job = quick.ended("plain")
    assert (job["TrainingJobStatus"], job["OutputDataConfig"]) == ("Completed", plain)
    assert job["ModelArtifacts"] == {"S3ModelArtifacts": f"s3://{BUCKET}/jobs/plain/output/model"}
    found = {key: quick.get(f"s3://{BUCKET}/jobs/plain/output/{key}") for key in quick.keys("jobs/plain/output/")}
    assert found == {"data/scores.csv": b"1", "model/deep/weights.bin": b"weights", "model/linked.bin": b"weights"}
    assert quick.ended("plain-bad")["TrainingJobStatus"] == "Failed"
    assert quick.keys("jobs/plain-bad/output/") == ["data/scores.csv"]
    unknown = quick.training("never", OutputDataConfig={**plain, "CompressionType": "ZSTD"})
    assert "enum value set: [GZIP, NONE]" in quick.error("create_training_job", **unknown)[1]


# Its parent, the toolkit, dies of SIGTERM at once; this one needs a moment to save what it has.
SAVE_ON_SIGTERM = """
import os, pathlib, signal, sys, time
def save(*_):
    time.sleep(1)
    pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(600)
"""


def test_stop_gives_the_script_time_and_keeps_its_model(quick: Machine) -> None:
    quick.train("stopped", SAVE_ON_SIGTERM)
    wait_for(lambda: quick.said("stopped", "ready"))
    quick.sagemaker.stop_training_job(TrainingJobName="stopped")
    quick.sagemaker.stop_training_job(TrainingJobName="stopped")
    assert quick.describe("stopped")["TrainingJobStatus"] == "Stopping"
    job = quick.ended("stopped")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    steps = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert steps == ["Starting", "Downloading", "Training", "Stopping", "Stopped"]
    assert quick.unpack("stopped", "model.tar.gz") == {"model.txt": b"saved"}
    code, message = quick.error("stop_training_job", TrainingJobName="stopped")
    assert code == "ValidationException"
    assert "Stopped" in message


def test_stop_before_the_script_has_begun(quick: Machine) -> None:
    quick.train("stopped-early", "import time; print('began'); time.sleep(600)")
    quick.sagemaker.stop_training_job(TrainingJobName="stopped-early")
    assert quick.ended("stopped-early")["TrainingJobStatus"] == "Stopped"


def test_max_runtime_stops_the_job(quick: Machine) -> None:
    quick.train("too-long", SAVE_ON_SIGTERM, max_run=1)
    job = quick.ended("too-long")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert quick.unpack("too-long", "model.tar.gz") == {"model.txt": b"saved"}
    assert "FailureReason" not in job
