"""kill -9 of whatever works for a project: the next command tells the truth, and the one after it works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
from conftest import Dogbreed, processes_of, read_until, wait_for
from local_jobs import command

from dogbreed_cli.local import Home, connect


def find_process(folder: Path, *words: str) -> psutil.Process:
    """The process of this project whose command line has all the words."""

    def find() -> psutil.Process | None:
        for process in processes_of(folder):
            if all(word in " ".join(command(process)) for word in words):
                return process
        return None

    return wait_for(find)


def describe(dogbreed: Dogbreed, job: str) -> dict[str, Any]:
    client = connect(Home(dogbreed.folder / ".dogbreed")).client("sagemaker")
    return client.describe_training_job(TrainingJobName=job)


def test_kill_9_of_a_training_is_told_and_the_next_works(project: Dogbreed) -> None:
    """Of its worker; what else may be killed of a job is in test_local_faults.py."""
    waiting = project.start("train", "--epochs", "1000")
    job = read_until(waiting, r"training job (\S+)")
    read_until(waiting, r"(epoch=1) ")
    find_process(project.folder, "local.worker", "training", job).kill()
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 5
    assert re.search("killed|SIGKILL|exit code|-9", said), said
    assert describe(project, job)["TrainingJobStatus"] == "Failed"
    wait_for(lambda: not processes_of(project.folder))
    assert project.json("status")["items"] == []
    project.run("train", "--epochs", "1")


def test_kill_9_of_the_endpoint_is_told_and_the_next_deploy_works(project: Dogbreed, dogs: Path) -> None:
    if not project.json("status", "--all")["items"]:  # the test above leaves a model
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
    wait_for(lambda: not processes_of(project.folder))
