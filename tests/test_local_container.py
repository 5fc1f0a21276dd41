"""What the newer members of a training request do on this machine, as the program in the container sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_jobs import Machine, machine_in

from dogbreed_cli.local import BUCKET

SECRET = "a-value-that-no-log-may-show"
TELL = """
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
configs = {path.stem: json.loads(path.read_text()) for path in (base / "input/config").iterdir()}
files = {path.relative_to(base / "input/data").as_posix(): path.read_text()
         for path in (base / "input/data").rglob("*") if path.is_file()}
profile = base / "output/profiler/system/incremental"
profile.mkdir(parents=True)
(profile / "1.algo-1.json").write_text("{}")
seen = {"configs": configs, "files": files, "environment": dict(os.environ), "base": str(base)}
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json").write_text(json.dumps(seen))
print("told")
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """With two ended jobs: `everything` asks for all that there is, `plain` for nothing."""
    with machine_in(tmp_path_factory.mktemp("container")) as machine:
        for name in ("a/1.txt", "b/2.txt"):
            machine.put(f"data/{name}", name.encode())
        request = machine.training("everything", TELL, channels=dict.fromkeys(("one", "two"), f"s3://{BUCKET}/data/"))
        request["AlgorithmSpecification"]["TrainingInputMode"] = "FastFile"
        one, two = request["InputDataConfig"]
        one["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
        two |= {"InputMode": "File", "ContentType": "image/jpeg"}
        request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = 600
        machine.sagemaker.create_training_job(**request, **MORE)
        machine.train("plain", TELL)
        for name in ("everything", "plain"):
            assert machine.ended(name)["TrainingJobStatus"] == "Completed"
        yield machine


MORE: dict[str, Any] = {
    "Environment": {"TOKEN": SECRET},
    "ProfilerConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs/", "ProfilingIntervalInMilliseconds": 100},
    "DebugHookConfig": {"S3OutputPath": f"s3://{BUCKET}/jobs", "LocalPath": "/opt/ml/output/tensors/"},
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints/everything"},
}


def seen(machine: Machine, job: str) -> dict[str, Any]:
    return json.loads(machine.unpack(job, "output.tar.gz")["seen.json"])


def test_every_input_mode_and_distribution_shows_all_files(machine: Machine) -> None:
    found = seen(machine, "everything")
    assert found["files"] == {
        f"{channel}/{name}": name for channel in ("one", "two") for name in ("a/1.txt", "b/2.txt")
    }
    config = found["configs"]["inputdataconfig"]
    assert config["one"]["TrainingInputMode"] == "FastFile"
    assert config["one"]["S3DistributionType"] == "ShardedByS3Key"
    assert config["two"]["TrainingInputMode"] == "File"
    assert config["two"]["S3DistributionType"] == "FullyReplicated"
    assert config["two"]["ContentType"] == "image/jpeg"


def test_the_environment_reaches_the_script_and_no_log(machine: Machine) -> None:
    assert seen(machine, "everything")["environment"]["TOKEN"] == SECRET
    assert SECRET not in machine.log("everything")
    assert SECRET not in (machine.home.jobs / "everything" / "worker.log").read_text()
    refused = machine.training("refused", Environment={"TOKEN": SECRET * 50})
    assert SECRET not in machine.error("create_training_job", **refused)[1]


def test_the_profiler_has_its_config_and_its_files_go_to_s3(machine: Machine) -> None:
    found = seen(machine, "everything")
    asked = MORE["ProfilerConfig"]
    assert found["configs"]["profilerconfig"] == {**asked, "DisableProfiler": False}
    path = found["environment"]["SMPROFILER_CONFIG_PATH"]
    assert path == f"{found['base']}/input/config/profilerconfig.json"
    assert machine.keys("jobs/everything/profiler-output/") == ["system/incremental/1.algo-1.json"]
    job = machine.describe("everything")
    assert (job["ProfilerConfig"], job["ProfilingStatus"]) == (asked, "Enabled")
    # Off, and not asked for: nothing of the container's profiler is kept.
    off = {"S3OutputPath": f"s3://{BUCKET}/jobs", "DisableProfiler": True}
    machine.train("off", TELL, ProfilerConfig=off)
    job = machine.ended("off")
    assert (job["TrainingJobStatus"], job["ProfilingStatus"]) == ("Completed", "Disabled")
    assert seen(machine, "off")["configs"]["profilerconfig"]["DisableProfiler"] is True
    assert machine.keys("jobs/off/profiler-output/") == machine.keys("jobs/plain/profiler-output/") == []


def test_what_was_not_asked_for_is_not_there(machine: Machine) -> None:
    found = seen(machine, "plain")
    assert set(found["configs"]) == {"hyperparameters", "resourceconfig", "inputdataconfig"}
    assert "SM_CHECKPOINT_DIR" not in found["environment"]


def test_describe_gives_back_what_was_asked_for(machine: Machine) -> None:
    job = machine.describe("everything")
    assert job["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 600
    assert {member: job[member] for member in MORE} == MORE
    assert seen(machine, "everything")["configs"]["checkpointconfig"] == {
        **MORE["CheckpointConfig"],
        "LocalPath": seen(machine, "everything")["environment"]["SM_CHECKPOINT_DIR"],
    }


RANKS = """
import os
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor(dist.get_rank() + 1)
dist.all_reduce(total)
print(f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']}, sum {total.item()}")
dist.destroy_process_group()
"""


def test_torchrun_starts_several_processes_on_this_host(tmp_path: Path, image_python: Path) -> None:
    ranks = {"sagemaker_torch_distributed_enabled": True, "sagemaker_mpi_num_of_processes_per_host": 2}
    with machine_in(tmp_path, image_python.as_uri()) as real:
        real.train("ranks", RANKS, hyperparameters=ranks, Environment={"TOKEN": SECRET})
        job = real.ended("ranks", 120)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        said = real.log("ranks")
        assert "rank 0 of 2, sum 3" in said
        assert "rank 1 of 2, sum 3" in said
        assert SECRET not in said  # AWS's toolkit writes what it knows of its environment into the log
