"""What users and machines do to a running command: Ctrl-C, kill -9, time-outs, two at once, jobs that fail."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Dogbreed, processes_of, wait_for

from dogbreed_cli.local import Home, connect


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """The first group of `pattern` in the process's stderr, read line by line."""
    assert process.stderr
    for line in process.stderr:
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(f"{pattern!r} was never said")


def find_process(folder: Path, *words: str) -> psutil.Process:
    """The process of this project whose command line has all the words."""

    def find() -> psutil.Process | None:
        for process in processes_of(folder):
            if all(word in " ".join(process.cmdline()) for word in words):
                return process
        return None

    return wait_for(find)


def describe(dogbreed: Dogbreed, job: str) -> dict[str, Any]:
    client = connect(Home(dogbreed.folder / ".dogbreed")).client("sagemaker")
    return client.describe_training_job(TrainingJobName=job)


def test_ctrl_c_detaches_and_attach_goes_on(project: Dogbreed) -> None:
    waiting = project.start("train", "--epochs", "2")
    job = read_until(waiting, r"training job (\S+)")
    read_until(waiting, r"\] (Training)")
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert f"dogbreed train --attach {job}" in said
    assert project.json("train", "--attach", job)["status"] == "Completed"


def test_a_killed_cli_leaves_the_job_running(project: Dogbreed) -> None:
    waiting = project.start("train", "--epochs", "2")
    job = read_until(waiting, r"training job (\S+)")
    waiting.kill()
    waiting.communicate()
    assert [item["name"] for item in project.json("status")["items"]] == [job]
    assert project.json("train", "--attach", job)["training_job"] == job


def test_no_wait_and_timeout_leave_the_job_running(project: Dogbreed) -> None:
    job = project.json("train", "--epochs", "2", "--no-wait")["training_job"]
    said = project.run("train", "--attach", job, "--timeout", "0.5", code=8).stderr
    assert f"dogbreed train --attach {job}" in said
    project.run("train", "--attach", job)


@pytest.mark.parametrize("victim", ["worker", "toolkit", "script"])
def test_kill_9_of_a_training_is_told_and_the_next_works(project: Dogbreed, victim: str) -> None:
    waiting = project.start("train", "--epochs", "1000")
    job = read_until(waiting, r"training job (\S+)")
    read_until(waiting, r"(epoch=1) ")
    words = {"worker": ["local.worker", "training", job], "toolkit": ["-c", "train"], "script": ["train.py"]}[victim]
    find_process(project.folder, *words).kill()
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 5
    assert re.search("killed|SIGKILL|exit code|-9", said), said
    assert describe(project, job)["TrainingJobStatus"] == "Failed"
    wait_for(lambda: not processes_of(project.folder), 10)
    assert project.json("status")["items"] == []
    if victim == "worker":  # once is enough to see that nothing is corrupt
        project.run("train", "--epochs", "1")


def test_kill_9_of_the_endpoint_is_told_and_the_next_deploy_works(project: Dogbreed, dogs: Path) -> None:
    project.run("train", "--epochs", "1")
    image = str(next((dogs / "test").rglob("*.jpg")))
    project.run("deploy")
    find_process(project.folder, "serving_app.py").kill()
    wait_for(lambda: project.json("status")["items"][0]["status"] == "Failed")
    assert "dogbreed deploy" in project.run("predict", image, code=1).stderr
    project.run("deploy")
    project.run("predict", image)
    find_process(project.folder, "local.worker", "endpoint").kill()
    assert project.json("status")["items"][0]["status"] == "Failed"
    wait_for(lambda: not processes_of(project.folder), 10)
    project.run("deploy")
    project.run("predict", image)


def test_two_tunings_at_once_each_have_their_own_trials(project: Dogbreed) -> None:
    arguments = ("--json", "tune", "--max-jobs", "2", "--epochs", "1", "--strategy", "Random")
    both = [project.start(*arguments), project.start(*arguments)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    results = [json.loads(out) for out, _ in outputs]
    assert results[0]["tuning_job"] != results[1]["tuning_job"]
    for result in results:
        assert len(result["trials"]) == 2
        assert all(trial["TrainingJobName"].startswith(result["tuning_job"]) for trial in result["trials"])
