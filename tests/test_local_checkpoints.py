"""CheckpointConfig on this machine: restored, synced while the program writes, and there after whatever ended it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_for
from local_jobs import Machine, is_gone, machine_in

from dogbreed_cli.local import BUCKET
from dogbreed_cli.local.checkpoints import Checkpoints
from dogbreed_cli.local.s3_access import open_access

PREFIX = f"s3://{BUCKET}/checkpoints"
# Counts on from where it finds itself, replacing its file by a rename each time; `--last` ends it, 0 never does.
COUNT = """
import argparse, os, pathlib, time
parser = argparse.ArgumentParser()
parser.add_argument("--last", type=int, default=0)
last = parser.parse_args().last
folder = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"])
count = int((folder / "epoch.txt").read_text()) if (folder / "epoch.txt").exists() else 0
print(f"begins at {count}")
(folder / "deep").mkdir(exist_ok=True)
while not last or count < last:
    count += 1
    (folder / "epoch.tmp").write_text(str(count))
    (folder / "epoch.tmp").replace(folder / "epoch.txt")
    (folder / "deep" / f"{count % 3}.txt").write_text(str(count))
    time.sleep(0.01)
(folder / "first.txt").unlink(missing_ok=True)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("checkpoints")) as machine:
        yield machine


def test_a_second_job_goes_on_where_a_killed_one_stopped(machine: Machine) -> None:
    config = {"S3Uri": f"{PREFIX}/run/"}
    machine.put("checkpoints/run/first.txt", b"from before")
    machine.put("checkpoints/runner/other.txt", b"another prefix")
    machine.train("killed", COUNT, CheckpointConfig=config)
    wait_for(lambda: "epoch.txt" in machine.keys("checkpoints/run/"))
    worker = machine.worker("killed")
    worker.kill()
    wait_for(lambda: is_gone(worker))
    # Its orphaned program goes on until somebody looks; what it has written by then is not lost.
    written = machine.home.jobs / "killed/ml/checkpoints/epoch.txt"
    wait_for(lambda: int(written.read_text()) > int(machine.get(f"{PREFIX}/run/epoch.txt")) + 20)
    last = int(written.read_text())
    assert machine.describe("killed")["TrainingJobStatus"] == "Failed"
    reached = int(machine.get(f"{PREFIX}/run/epoch.txt"))
    assert reached >= last
    assert not written.exists()
    machine.train("resumed", COUNT, CheckpointConfig=config, hyperparameters={"last": reached + 5})
    assert machine.ended("resumed")["TrainingJobStatus"] == "Completed"
    assert f"begins at {reached}" in machine.log("resumed")
    assert int(machine.get(f"{PREFIX}/run/epoch.txt")) == reached + 5
    # What the program removed is gone in S3 too; what was never its own is not.
    found = [key for key in machine.keys("checkpoints/run/") if not key.endswith(".tmp")]
    assert found == ["deep/0.txt", "deep/1.txt", "deep/2.txt", "epoch.txt"]
    assert machine.keys("checkpoints/runner/") == ["other.txt"]
    assert machine.describe("resumed")["CheckpointConfig"] == config


def test_a_job_goes_on_where_a_killed_one_stopped_that_nobody_has_looked_at(machine: Machine) -> None:
    machine.train("unseen", COUNT, CheckpointConfig=saved("unseen"))
    written = machine.home.jobs / "unseen/ml/checkpoints/epoch.txt"
    wait_for(written.exists)
    worker = machine.worker("unseen")
    worker.kill()
    wait_for(lambda: is_gone(worker))
    machine.train("successor", COUNT, CheckpointConfig={"S3Uri": f"{PREFIX}/unseen/"}, hyperparameters={"last": 1})
    assert machine.ended("successor")["TrainingJobStatus"] == "Completed"
    assert "begins at 0" not in machine.log("successor")
    assert machine.describe("unseen")["TrainingJobStatus"] == "Failed"


SAVE_AND = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"])
def save(*_):
    (folder / "saved.txt").write_text("on SIGTERM")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
"""


def test_the_last_state_is_kept_after_sigterm_and_after_failure(machine: Machine) -> None:
    wait = SAVE_AND + "time.sleep(600)\n"
    machine.train("stopped", wait, CheckpointConfig={"S3Uri": f"{PREFIX}/stopped", "LocalPath": "/opt/ml/mine/here"})

    fail = SAVE_AND + "(folder / 'saved.txt').write_text('before')\nraise SystemExit(3)\n"
    machine.train("failed", fail, CheckpointConfig=saved("failed"))
    wait_for(lambda: machine.said("stopped", "ready"))
    machine.sagemaker.stop_training_job(TrainingJobName="stopped")
    assert machine.ended("stopped")["TrainingJobStatus"] == "Stopped"
    assert machine.get(f"{PREFIX}/stopped/saved.txt") == b"on SIGTERM"
    assert machine.ended("failed")["TrainingJobStatus"] == "Failed"
    assert machine.get(f"{PREFIX}/failed/saved.txt") == b"before"


def saved(name: str) -> dict[str, str]:
    return {"S3Uri": f"{PREFIX}/{name}"}


def test_each_trial_has_checkpoints_of_its_own(machine: Machine) -> None:
    definition = machine.training(
        "counted", COUNT + "print('loss=1')\n", metrics=["loss"], CheckpointConfig=saved("trials")
    )
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    del definition["TrainingJobName"]
    last = {"Name": "last", "Values": ["2", "3"]}
    machine.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="counting",
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"CategoricalParameterRanges": [last]},
        },
        TrainingJobDefinition={
            **definition,
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
        },
    )
    assert machine.ended_tuning("counting")["HyperParameterTuningJobStatus"] == "Completed"
    for trial in machine.trials("counting"):
        name = trial["TrainingJobName"]
        described = machine.describe(name)
        assert described["CheckpointConfig"] == {"S3Uri": f"{PREFIX}/trials/{name}"}
        assert described["EnableManagedSpotTraining"] is True
        assert described["BillableTimeInSeconds"] == described["TrainingTimeInSeconds"]
        found = machine.get(f"{PREFIX}/trials/{name}/epoch.txt").decode()
        assert found == trial["TunedHyperParameters"]["last"]


def test_files_that_are_replaced_while_they_are_read_stay_whole(machine: Machine, tmp_path: Path) -> None:
    folder, over = tmp_path / "checkpoints", threading.Event()
    folder.mkdir()
    machine.put("empty", b"")  # makes the bucket

    def replace() -> None:
        number = 0
        while not over.is_set():
            number += 1
            for name in ("a.bin", "b.bin"):
                (folder / "new").write_bytes(bytes([number % 256]) * 300_000)
                (folder / "new").replace(folder / name)
            (folder / "b.bin").unlink()

    access = open_access(machine.home)
    checkpoints = Checkpoints(access, f"{PREFIX}/busy", folder, tmp_path / "beside")
    checkpoints.restore()
    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = []
        for _ in range(60):
            checkpoints.sync()
            seen += [
                machine.get(f"{PREFIX}/busy/{name}") for name in machine.keys("checkpoints/busy/") if name != "new"
            ]
    finally:
        over.set()
        writer.join()
    checkpoints.sync()
    assert seen
    assert {len(set(content)) for content in seen} == {1}
    assert {len(content) for content in seen} == {300_000}
    left = sorted(path.name for path in folder.iterdir())
    assert machine.keys("checkpoints/busy/") == left
    assert machine.get(f"{PREFIX}/busy/a.bin") == (folder / "a.bin").read_bytes()
    # What was restored is the job's own: to write into it changes nothing in S3.
    again = Checkpoints(access, f"{PREFIX}/busy", tmp_path / "again", tmp_path / "beside")
    again.restore()
    with (tmp_path / "again" / "a.bin").open("r+b") as file:
        file.write(b"scribble")
    assert machine.get(f"{PREFIX}/busy/a.bin") == (folder / "a.bin").read_bytes()
    again.sync()
    assert machine.get(f"{PREFIX}/busy/a.bin").startswith(b"scribble")


def test_restored_files_are_the_jobs_own_whatever_they_are_called(machine: Machine, tmp_path: Path) -> None:
    stored = {"model": b"one", "model.own": b"two", "model.own.own": b"three"}
    for name, content in stored.items():
        machine.put(f"checkpoints/named/{name}", content)
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(open_access(machine.home), f"{PREFIX}/named", folder, tmp_path / "beside")
    checkpoints.restore()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == stored
    for path in folder.iterdir():
        path.write_bytes(b"changed in place")
    assert {name: machine.get(f"{PREFIX}/named/{name}") for name in stored} == stored
