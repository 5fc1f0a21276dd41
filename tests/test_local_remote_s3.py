"""Local jobs whose S3 is a real one over HTTP (moto): the same results as on our own files, AWS's words for errors.

All seven commands on such an S3 are in test_serve_pipeline.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import wait_for
from local_jobs import Machine, machine_in
from moto.server import ThreadedMotoServer

from dogbreed_cli.local import BUCKET, ROLE_ARN, connect

KEYS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "secret-of-the-caller"}
# Says what it was given, and leaves a model, an output, a checkpoint and a tensor.
DIGEST = """
import argparse, hashlib, json, os, pathlib
argparse.ArgumentParser().parse_known_args()
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
data = base / "input/data"
seen = {path.relative_to(data).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*")) if path.is_file()}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json").write_text(json.dumps(seen))
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.bin").write_bytes(bytes(range(256)) * 50_000)
if "SM_CHECKPOINT_DIR" in os.environ:
    with open(os.path.join(os.environ["SM_CHECKPOINT_DIR"], "state.txt"), "a") as file:
        file.write("ran\\n")
(base / "output/tensors/events").mkdir(parents=True)
for step in range(30):
    (base / f"output/tensors/events/{step}.json").write_text(str(step))
print("loss=0.5", [name for name in os.environ if name.startswith("AWS_")])
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of moto's S3, with credentials for it in the environment."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}.items():
            patch.setenv(name, value)
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("remote"), s3_endpoint=endpoint) as machine:
        yield machine
        assert not machine.home.s3.exists()


def run_digest(machine: Machine) -> dict[str, Any]:
    """A job that reads odd keys and objects of all sizes; what it saw and left."""
    objects = {
        "a/1.bin": b"one",
        "a b/ü+%41.bin": b"odd",
        "empty": b"",
        "folder/": b"",
        "large.bin": b"dog" * 4_000_000,
    }
    for key, content in objects.items():
        machine.put(f"data/{key}", content)
    machine.put("checkpoints/digest/state.txt", b"before\n")
    machine.train(
        "digest",
        DIGEST,
        channels={"train": f"s3://{BUCKET}/data/", "one": f"s3://{BUCKET}/data/a/1.bin"},
        metrics=["loss"],
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/checkpoints/digest"},
        DebugHookConfig={"S3OutputPath": f"s3://{BUCKET}/jobs"},
    )
    job = machine.ended("digest")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    return {
        "seen": json.loads(machine.unpack("digest", "output.tar.gz")["seen.json"]),
        "model": machine.unpack("digest", "model.tar.gz"),
        "artifacts": job["ModelArtifacts"],
        "metrics": [(metric["MetricName"], metric["Value"]) for metric in job["FinalMetricDataList"]],
        "checkpoint": machine.get(f"s3://{BUCKET}/checkpoints/digest/state.txt"),
        "objects": machine.keys("jobs/digest/"),
    }


def test_a_job_reads_and_writes_as_on_our_own_files(remote: Machine, tmp_path: Path) -> None:
    there = run_digest(remote)
    with machine_in(tmp_path, remote.image) as machine:
        here = run_digest(machine)
    assert there == here
    assert len(there["seen"]) == 5
    assert there["checkpoint"] == b"before\nran\n"
    assert len(there["objects"]) == 32
    # The worker's credentials are not the script's.
    assert "loss=0.5 ['AWS_REGION']" in remote.log("digest")


def test_trials_and_models_are_on_the_endpoint_too(remote: Machine) -> None:
    definition = remote.training("tuned", DIGEST, metrics=["loss"])
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    del definition["TrainingJobName"]
    remote.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="tuned",
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "kind", "Values": ['"a"', '"b"']}]},
        },
        TrainingJobDefinition=definition,
    )
    assert remote.ended_tuning("tuned")["HyperParameterTuningJobStatus"] == "Completed"
    best = remote.describe(remote.trials("tuned")[0]["TrainingJobName"])
    uri = best["ModelArtifacts"]["S3ModelArtifacts"]
    assert len(remote.get(uri)) > 256 * 50_000
    model = {"ModelName": "m", "ExecutionRoleArn": ROLE_ARN}
    for wrong in (f"{uri}x", "s3://no-such-bucket-on-moto/model.tar.gz"):
        container = {"Image": remote.image, "ModelDataUrl": wrong}
        assert "Could not find model data" in remote.error("create_model", **model, PrimaryContainer=container)[1]
    remote.sagemaker.create_model(**model, PrimaryContainer={"Image": remote.image, "ModelDataUrl": uri})


def test_errors_of_the_endpoint_fail_the_job(remote: Machine, tmp_path: Path) -> None:
    absent = f"s3://{BUCKET}/absent.tar.gz"
    nowhere = "s3://no-such-bucket-on-moto/x"
    source = {"sagemaker_program": "train.py", "sagemaker_submit_directory": absent}
    remote.train("no-bucket", "print('never')", channels={"train": nowhere})
    remote.train("no-source", hyperparameters=source)
    remote.train("no-output", "print('done')", OutputDataConfig={"S3OutputPath": nowhere})
    remote.train("no-checkpoints", "print('never')", CheckpointConfig={"S3Uri": nowhere})
    expected = {
        "no-bucket": f'ClientError: Data download failed: No S3 objects found under S3 URL "{nowhere}"',
        "no-source": f"ClientError: Data download failed: the source archive {absent}: NoSuchKey",
        "no-output": "ClientError: Artifact upload failed: NoSuchBucket: The specified bucket does not exist",
        "no-checkpoints": "ClientError: Data download failed: the checkpoints: NoSuchBucket",
    }
    for name, words in expected.items():
        job = remote.ended(name)
        assert job["TrainingJobStatus"] == "Failed"
        assert job["FailureReason"].startswith(words)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}"
    request = remote.training("unreachable", channels={"train": f"s3://{BUCKET}/data"})
    with machine_in(tmp_path, remote.image, closed) as machine:
        client = connect(machine.home).client("sagemaker")
        client.create_training_job(**request)
        describe = lambda: client.describe_training_job(TrainingJobName="unreachable")  # noqa: E731
        wait_for(lambda: describe()["TrainingJobStatus"] == "Failed")
        words = "ClientError: Data download failed: EndpointConnectionError: Could not connect to the endpoint URL"
        assert describe()["FailureReason"].startswith(words)
        model = {"Image": remote.image, "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        with pytest.raises(ClientError, match="Could not access model data"):
            client.create_model(ModelName="m", ExecutionRoleArn=ROLE_ARN, PrimaryContainer=model)
