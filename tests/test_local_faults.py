"""kill -9 of everything that runs: the next look tells the truth, nothing is left, and the next job works."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError
from conftest import wait_for
from local_endpoints import create, delete, invoke, make_config, servers, settled, status
from local_jobs import Machine, command, is_gone, machine_in
from local_trials import TRIAL, request

SLEEP = "import time\nprint('ready')\ntime.sleep(600)\n"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path) as machine:
        yield machine
        assert_records_are_whole(machine)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, image_python: Path) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("real"), image_python.as_uri()) as machine:
        yield machine
        assert_records_are_whole(machine)


def assert_records_are_whole(machine: Machine) -> None:
    for path in machine.home.records.rglob("*.json"):
        json.loads(path.read_bytes())


def running(machine: Machine, name: str) -> tuple[psutil.Process, psutil.Process]:
    """The toolkit and the script of a training job that says `ready`."""
    wait_for(lambda: machine.said(name, "ready"))
    leader = psutil.Process(json.loads((machine.home.jobs / name / "group.json").read_bytes())["group"])
    return leader, leader.children()[0]


def assert_the_next_job_works(machine: Machine) -> None:
    machine.train("next", "print('works')")
    assert machine.ended("next")["TrainingJobStatus"] == "Completed"
    assert "works" in machine.log("next")


def test_worker_of_a_training_job(machine: Machine) -> None:
    machine.train("victim", SLEEP)
    _, script = running(machine, "victim")
    worker = machine.worker("victim")
    worker.kill()
    wait_for(lambda: is_gone(worker))
    assert not is_gone(script)  # an orphan, until somebody looks
    summaries = machine.sagemaker.list_training_jobs()["TrainingJobSummaries"]
    assert [summary["TrainingJobStatus"] for summary in summaries] == ["Failed"]
    job = machine.describe("victim")
    assert "worker process on this machine was killed" in job["FailureReason"]
    assert job["SecondaryStatusTransitions"][-1]["Status"] == "Failed"
    assert job["TrainingEndTime"] >= job["TrainingStartTime"]
    assert not machine.processes()
    assert not (machine.home.jobs / "victim" / "ml").exists()
    assert machine.error("stop_training_job", TrainingJobName="victim")[0] == "ValidationException"
    assert_the_next_job_works(machine)


def test_worker_before_its_job_has_begun(machine: Machine) -> None:
    machine.train("victim", SLEEP)
    machine.worker("victim").kill()
    assert machine.ended("victim")["TrainingJobStatus"] == "Failed"
    wait_for(lambda: not machine.processes())
    assert_the_next_job_works(machine)


def test_worker_of_a_job_that_was_asked_to_stop(machine: Machine) -> None:
    machine.train("victim", "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    _, script = running(machine, "victim")
    machine.sagemaker.stop_training_job(TrainingJobName="victim")
    time.sleep(0.5)
    assert machine.describe("victim")["TrainingJobStatus"] == "Stopping"
    assert not is_gone(script)
    machine.worker("victim").kill()
    assert machine.ended("victim")["TrainingJobStatus"] == "Failed"
    assert not machine.processes()


@pytest.mark.parametrize("which", ["toolkit", "script"])
def test_training_process(machine: Machine, which: str) -> None:
    machine.train("victim", SLEEP)
    leader, script = running(machine, "victim")
    (leader if which == "toolkit" else script).kill()
    job = machine.ended("victim")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert ("SIGKILL, exit code: 137" if which == "toolkit" else "-9") in job["FailureReason"]
    wait_for(lambda: not machine.processes())
    assert_the_next_job_works(machine)


@pytest.mark.parametrize("which", ["toolkit", "script"])
def test_training_process_under_the_real_toolkit(real: Machine, which: str) -> None:
    real.train(f"victim-{which}", SLEEP)
    leader, script = running(real, f"victim-{which}")
    (leader if which == "toolkit" else script).kill()
    job = real.ended(f"victim-{which}")
    assert job["TrainingJobStatus"] == "Failed"
    assert ("SIGKILL" if which == "toolkit" else "ExecuteUserScriptError") in job["FailureReason"]
    wait_for(lambda: not [one for one in real.processes() if f"victim-{which}" in " ".join(command(one))])
    wait_for(lambda: is_gone(leader))
    wait_for(lambda: is_gone(script))


def start_tuning(machine: Machine, **more: Any) -> None:
    machine.put_code("trial", train="print('ready', flush=True)\n" + TRIAL)
    machine.sagemaker.create_hyper_parameter_tuning_job(**request(machine, "study", **more))
    wait_for(lambda: machine.describe_tuning("study")["TrainingJobStatusCounters"]["InProgress"] == 2)


def test_worker_of_a_tuning_job(machine: Machine) -> None:
    start_tuning(machine, most=20, static={"wait": 600})
    wait_for(lambda: all(machine.said(trial["TrainingJobName"], "ready") for trial in machine.trials("study")))
    machine.worker("study").kill()
    job = machine.ended_tuning("study")
    assert job["HyperParameterTuningJobStatus"] == "Failed"
    assert "worker process on this machine was killed" in job["FailureReason"]
    # Its trials are stopped, and what it counts stays true.
    wait_for(lambda: machine.describe_tuning("study")["TrainingJobStatusCounters"]["Stopped"] == 2)
    assert machine.describe_tuning("study")["ObjectiveStatusCounters"] == {"Succeeded": 0, "Pending": 0, "Failed": 2}
    wait_for(lambda: not machine.processes())
    assert_the_next_job_works(machine)


def test_worker_of_a_trial(machine: Machine) -> None:
    start_tuning(machine, most=3, static={"wait": 1.5})
    victim = machine.trials("study")[0]["TrainingJobName"]
    machine.worker(victim).kill()
    job = machine.ended_tuning("study")
    assert job["HyperParameterTuningJobStatus"] == "Completed"
    assert job["TrainingJobStatusCounters"]["NonRetryableError"] == 1
    assert job["TrainingJobStatusCounters"]["Completed"] == 2
    assert [trial["TrainingJobName"] for trial in machine.trials("study", StatusEquals="Failed")] == [victim]
    wait_for(lambda: not machine.processes())


def test_server_of_an_endpoint(real: Machine) -> None:
    make_config(real, "server")
    create(real, "server")
    settled(real, "server")
    servers(real, "server")[0].kill()
    with pytest.raises(ClientError):
        invoke(real, "server")
    wait_for(lambda: status(real, "server") == "Failed")
    described = real.sagemaker.describe_endpoint(EndpointName="server")
    assert "exit code -9" in described["FailureReason"]
    delete(real, "server")
    create(real, "server")
    assert settled(real, "server")["EndpointStatus"] == "InService"
    delete(real, "server")


def test_worker_of_an_endpoint(real: Machine) -> None:
    make_config(real, "orphan")
    create(real, "orphan")
    settled(real, "orphan")
    orphan = servers(real, "orphan")[0]
    real.worker("orphan").kill()
    listed = wait_for(lambda: real.sagemaker.list_endpoints(NameContains="orphan", StatusEquals="Failed")["Endpoints"])
    assert [entry["EndpointName"] for entry in listed] == ["orphan"]
    wait_for(lambda: is_gone(orphan))
    assert "worker process on this machine was killed" in settled(real, "orphan")["FailureReason"]
    assert not list((real.home.jobs / "endpoint.orphan").glob("server-*"))
    with pytest.raises(ClientError, match="not found"):
        invoke(real, "orphan")
    delete(real, "orphan")


def test_worker_of_an_endpoint_that_was_being_deleted(real: Machine) -> None:
    make_config(real, "leaving")
    create(real, "leaving")
    settled(real, "leaving")
    worker = real.worker("leaving")
    worker.suspend()
    real.sagemaker.delete_endpoint(EndpointName="leaving")
    assert status(real, "leaving") == "Deleting"
    worker.kill()
    wait_for(lambda: is_gone(worker))
    create(real, "leaving")  # nobody needs to look before the name is free
    assert settled(real, "leaving")["EndpointStatus"] == "InService"
    assert len(servers(real, "leaving")) == 1
    delete(real, "leaving")
