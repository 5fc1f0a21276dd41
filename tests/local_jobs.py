"""For the tests of the local SageMaker's jobs: its clients, small requests, and a container image that starts at once.

The real image spends 4 s on importing torch before a script begins. Where AWS's toolkit is not what a test is about, a
job runs in `quick_image`: another interpreter with a `sagemaker_training` of twenty lines that keeps the same contract.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
from conftest import processes_of, wait_for

from dogbreed_cli.local import BUCKET, ROLE_ARN, Home, connect
from dogbreed_cli.source import pack

ENDED = ("Completed", "Failed", "Stopped")
NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"
# What a quick image runs instead of AWS's toolkit: the script with its hyperparameters, and a failure file.
TOOLKIT = """
import json, os, subprocess, sys

def main():
    base = os.environ["SAGEMAKER_BASE_DIR"]
    with open(f"{base}/input/config/hyperparameters.json") as file:
        given = {name: json.loads(text) for name, text in json.load(file).items()}
    folder, program = given.pop("sagemaker_submit_directory"), given.pop("sagemaker_program")
    arguments = [word for name in sorted(given) for word in (f"--{name}", str(given[name]))]
    places = {"SM_MODEL_DIR": f"{base}/model", "SM_OUTPUT_DATA_DIR": f"{base}/output/data"}
    code = subprocess.call([sys.executable, program, *arguments], cwd=folder, env={**os.environ, **places})
    if code:
        if not os.path.exists(f"{base}/output/failure"):
            with open(f"{base}/output/failure", "w") as file:
                file.write(f"{program} ended with {code}")
        sys.exit(1)
"""


def build_quick_image(folder: Path) -> str:
    """The file:// URI of a new environment whose toolkit is the one above."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    package = next(folder.glob("lib/python*/site-packages")) / "sagemaker_training" / "cli"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "train.py").write_text(TOOLKIT)
    return (folder / "bin" / "python").as_uri()


@dataclass(frozen=True)
class Machine:
    """One home of the local SageMaker, its clients, and requests to it that are as small as they may be."""

    folder: Path
    image: str
    s3_endpoint: str | None = None

    @cached_property
    def home(self) -> Home:
        return Home(self.folder / "home", self.s3_endpoint)

    @cached_property
    def session(self) -> Any:
        session = connect(self.home)
        session.client("s3").create_bucket(Bucket=BUCKET)
        return session

    @cached_property
    def sagemaker(self) -> Any:
        return self.session.client("sagemaker")

    @cached_property
    def runtime(self) -> Any:
        return self.session.client("sagemaker-runtime")

    @cached_property
    def s3(self) -> Any:
        return self.session.client("s3")

    def put(self, key: str, body: bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        return self.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()

    def put_code(self, name: str, **files: str) -> str:
        """Pack {stem: text} as Python files and put the archive to S3."""
        code = self.folder / f"code-{name}"
        code.mkdir()
        for stem, text in files.items():
            (code / f"{stem}.py").write_text(text)
        return self.put(f"code/{name}/sourcedir.tar.gz", pack(code))

    def training(self, name: str, script: str = "", *, image: str = "", **more: Any) -> dict[str, Any]:
        """CreateTrainingJob's request. `metrics` are names; `hyperparameters` and `channels` as they sound."""
        hyperparameters = more.pop("hyperparameters", {})
        channels, metrics = more.pop("channels", {}), more.pop("metrics", ())
        if script:
            source = self.put_code(name, train=script)
            hyperparameters = {"sagemaker_program": "train.py", "sagemaker_submit_directory": source, **hyperparameters}
        request = {
            "TrainingJobName": name,
            "HyperParameters": {key: json.dumps(value) for key, value in hyperparameters.items()},
            "AlgorithmSpecification": {
                "TrainingImage": image or self.image,
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": metric, "Regex": f"{metric}={NUMBER}"} for metric in metrics],
            },
            "RoleArn": ROLE_ARN,
            "InputDataConfig": [
                {"ChannelName": channel, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}
                for channel, uri in channels.items()
            ],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": more.pop("max_run", 60)},
            **more,
        }
        return {member: value for member, value in request.items() if value != []}

    def keys(self, prefix: str) -> list[str]:
        """What is below a prefix, without it."""
        answer = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"].removeprefix(prefix) for entry in answer.get("Contents", [])]

    def unpack(self, job: str, archive: str) -> dict[str, bytes]:
        """The files in one of a training job's archives."""
        content = self.get(f"s3://{BUCKET}/jobs/{job}/output/{archive}")
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]

    def train(self, name: str, script: str = "", **more: Any) -> None:
        self.sagemaker.create_training_job(**self.training(name, script, **more))

    def describe(self, name: str) -> dict[str, Any]:
        return self.sagemaker.describe_training_job(TrainingJobName=name)

    def ended(self, name: str, seconds: float = 60) -> dict[str, Any]:
        """The description of a training job once it has ended."""
        wait_for(lambda: self.describe(name)["TrainingJobStatus"] in ENDED, seconds)
        return self.describe(name)

    def describe_tuning(self, name: str) -> dict[str, Any]:
        return self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    def ended_tuning(self, name: str, seconds: float = 60) -> dict[str, Any]:
        wait_for(lambda: self.describe_tuning(name)["HyperParameterTuningJobStatus"] in ENDED, seconds)
        return self.describe_tuning(name)

    def trials(self, name: str, **more: Any) -> list[dict[str, Any]]:
        pages = self.sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
            HyperParameterTuningJobName=name, **more
        )
        return [trial for page in pages for trial in page["TrainingJobSummaries"]]

    def log(self, name: str = "", group: str = "/aws/sagemaker/TrainingJobs") -> str:
        prefix = {"logStreamNamePrefix": name} if name else {}
        events = self.session.client("logs").filter_log_events(logGroupName=group, **prefix)["events"]
        return "\n".join(event["message"] for event in events)

    def said(self, name: str, words: str) -> bool:
        try:
            return words in self.log(name)
        except self.session.client("logs").exceptions.ResourceNotFoundException:
            return False

    def processes(self) -> list[psutil.Process]:
        return processes_of(self.folder)

    def worker(self, name: str) -> psutil.Process:
        """The worker process of a job or endpoint."""
        found = [process for process in self.processes() if "dogbreed_cli.local.worker" in command(process)]
        return next(process for process in found if name in command(process))

    def error(self, operation: str, **request: Any) -> tuple[str, str]:
        """(code, message) of the error that the operation must answer with."""
        import pytest
        from botocore.exceptions import ClientError

        with pytest.raises(ClientError) as caught:
            getattr(self.sagemaker, operation)(**request)
        return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@contextmanager
def machine_in(folder: Path, image: str = "", s3_endpoint: str | None = None) -> Iterator[Machine]:
    """A machine whose processes are gone afterwards, whatever became of the test."""
    machine = Machine(folder, image or build_quick_image(folder / "image"), s3_endpoint)
    try:
        yield machine
    finally:
        wait_for(lambda: kill_all(machine))


def kill_all(machine: Machine) -> bool:
    return kill_below(machine.folder)


def kill_below(folder: Path) -> bool:
    """Kill what runs in homes below the folder; whether nothing did."""
    found = processes_of(folder)
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return not found


def command(process: psutil.Process) -> list[str]:
    """Its command line; nothing of one that has ended since it was listed."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def is_gone(process: psutil.Process) -> bool:
    """Ended; perhaps nobody has reaped it, for in a container there may be no init that does."""
    try:
        # The first thread may be a zombie while another still dies, and holds the process's files and locks.
        zombie = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return zombie or not process.is_running()
    except psutil.NoSuchProcess:
        return True
