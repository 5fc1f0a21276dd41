"""What users and machines do to a running command: Ctrl-C, kill -9, time-outs, two at once, jobs that fail."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Dogbreed, processes_of, wait_for

from dogbreed_cli.local import Home, connect


@pytest.fixture(scope="module")
def project(dogs: Path, image_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dogbreed]:
    """A folder with the dogs uploaded; whatever runs there at the end is ended."""
    dogbreed = Dogbreed(tmp_path_factory.mktemp("interrupted"), {"OMP_NUM_THREADS": "1"})
    dogbreed.run("upload", str(dogs))
    yield dogbreed
    dogbreed.run("teardown", "--yes")
    assert not processes_of(dogbreed.folder)


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


def test_a_failing_script_shows_its_own_error(project: Dogbreed) -> None:
    error = project.json("--set", "model.backbone=resnet19", "train", code=5)
    assert "unknown backbone 'resnet19'" in error["why"]
    assert "resnet18" in error["why"]
    assert error["code"] == 5
    assert error["fix"].startswith("see `dogbreed logs dogbreed-train-")


def test_weights_that_cannot_be_downloaded_are_told(project: Dogbreed, tmp_path: Path) -> None:
    # A proxy that refuses stands for a machine without a network, also where there is one.
    nobody = "http://127.0.0.1:9"
    offline = Dogbreed(
        project.folder,
        {
            "DOGBREED_MODEL__WEIGHTS": "DEFAULT",
            "TORCH_HOME": str(tmp_path),
            "HTTPS_PROXY": nobody,
            "https_proxy": nobody,
        },
    )
    said = offline.run("train", code=5).stderr
    assert "weights IMAGENET1K_V1 of backbone resnet18 could not be downloaded" in said
    assert 'model.weights = "none"' in said
    said = offline.run("tune", "--max-jobs", "1", code=5).stderr
    assert "could not be downloaded" in said


def test_a_file_of_weights_is_used(project: Dogbreed, image_python: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    make = f"import torch, torchvision; torch.save(torchvision.models.resnet18().state_dict(), {str(file)!r})"
    subprocess.run([image_python, "-c", make], check=True)
    trained = project.json("--set", f"model.weights={file}", "train", "--epochs", "1")
    assert trained["hyperparameters"]["weights"] == "pretrained"
    assert "loaded the backbone only, with a new head for 6 classes" in project.run("logs").stdout
    missing = project.run("--set", "model.weights=nosuch.pth", "train", code=2).stderr
    assert "nosuch.pth" in missing
