"""`train`, `tune`, `status`, `logs` and `teardown` on jobs that run, and on names and options that cannot be."""

from __future__ import annotations

import time
from pathlib import Path

from local_jobs import Machine
from serving_machine import add_training_job, document, invoke

from dogbreed_cli import requests
from dogbreed_cli.config import Config
from dogbreed_cli.local.logs import Logs
from dogbreed_cli.waiting import Patience


def test_what_cannot_be_is_said_with_the_next_step(trained: Machine, dogs: Path) -> None:
    invoke("upload", str(dogs))
    for arguments, code, what in (
        ("train --name other-1", 2, "project's name\n  fix: say --name dogbreed-other-1\n"),
        ("train --name dogbreed-tune-mine", 2, "but not dogbreed-tune-"),
        ("train --min-accuracy 0.5 --no-wait", 2, "--min-accuracy needs the end"),
        ("train --attach dogbreed-one --timeout -1", 2, "--timeout"),
        (f"train --name dogbreed-{'x' * 55} --dry-run", 2, "at most 63"),
        ("deploy --name dogbreed-a_b --dry-run", 2, "letters, digits and hyphens"),
        ("train --attach dogbreed-no --no-wait", 2, "leave one out"),
        ("tune --attach dogbreed-no --no-wait", 2, "leave one out"),
        ("deploy --name other", 2, "the name other does not begin with dogbreed-"),
        ("train --name dogbreed-one", 1, "train --attach dogbreed-one"),
        ("tune --warm-start dogbreed-tune-no", 1, "no tuning job dogbreed-tune-no"),
    ):
        assert what in invoke(*arguments.split(), code=code).stderr


def test_of_a_job_that_nobody_waits_for_stdout_is_the_name_alone(trained: Machine, dogs: Path) -> None:
    invoke("upload", str(dogs))
    for command in ("train", "tune"):
        begun = invoke("-q", command, "--no-features", "--epochs", "1", "--no-wait")
        (name,) = begun.stdout.split()
        assert name.startswith(f"dogbreed-{command}-")
    invoke("teardown", "--yes")


def test_without_images_to_validate_with_nothing_is_started(trained: Machine, dogs: Path) -> None:
    alone = invoke("--set", "data.valid_fraction=0", "upload", str(dogs / "train"))
    assert "next:" not in alone.stderr
    for command in ("train", "tune"):
        said = document(command, code=2)
        assert (said["error"].split(" at ")[0], "valid_fraction" in said["fix"]) == ("no valid images", True)
    assert document("status")["items"] == []


def test_a_job_that_runs_is_not_said_to_have_ended(trained: Machine) -> None:
    trained.train("dogbreed-runs", "import time; time.sleep(600)", Tags=requests.tags(Config()))
    assert document("deploy", "--job", "dogbreed-runs", code=1)["error"].endswith("is InProgress")
    assert "still InProgress" in document("train", "--attach", "dogbreed-runs", "--timeout", "0", code=8)["error"]
    report = invoke("report", "--job", "dogbreed-runs")
    assert "dogbreed deploy" not in report.stderr
    invoke("teardown", "--yes")


def test_status_shows_a_running_job_that_is_older_than_many_others(trained: Machine) -> None:
    # A trial's name: those that a killed tuning job left behind are jobs that run, too.
    running = "dogbreed-tune-1-001-abc"
    trained.train(running, "import time; time.sleep(600)", Tags=requests.tags(Config()))
    for number in range(25):
        add_training_job(trained, f"dogbreed-done-{number}", time.time() + 1)
    assert [item["name"] for item in document("status")["items"]] == [running]
    assert [item["name"] for item in document("teardown", "--yes")["removed"]] == [running]
    assert document("status")["items"] == []


def test_logs_of_a_tuning_job_are_its_trials(trained: Machine) -> None:
    definition = trained.training("x", "print('said loss=1.0')", metrics=["loss"])
    for member in ("TrainingJobName", "HyperParameters"):
        static = definition.pop(member)
    objective = {"Type": "Minimize", "MetricName": "loss"}
    limits = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
    ranges = {"CategoricalParameterRanges": [{"Name": "lr", "Values": ["1"]}]}
    search = {"Strategy": "Random", "HyperParameterTuningJobObjective": objective, "ResourceLimits": limits}
    trained.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName="dogbreed-tune-1",
        HyperParameterTuningJobConfig={**search, "ParameterRanges": ranges},
        TrainingJobDefinition={**definition, "StaticHyperParameters": static},
        Tags=requests.tags(Config()),
    )
    assert "said loss=1.0" in invoke("logs", "dogbreed-tune-1", "-f").stdout
    assert "no job or endpoint dogbreed-tune-2" in invoke("logs", "dogbreed-tune-2", code=1).stderr
    assert "has said nothing" in invoke("logs", "dogbreed-endpoint").stderr


def test_teardown_takes_no_log_of_a_project_whose_name_begins_alike(trained: Machine) -> None:
    for name in ("dogbreed-endpoint", "dogbreed-x-endpoint"):
        Logs(trained.home.logs).append(f"/aws/sagemaker/Endpoints/{name}", "AllTraffic/i-0001", "said", 1)
    removed = document("teardown", "--logs", "--yes")["removed"]
    assert [item["name"] for item in removed] == ["/aws/sagemaker/Endpoints/dogbreed-endpoint"]
    assert document("teardown", "--logs", "--dry-run")["planned"] == []


def test_patience_begins_with_the_first_look() -> None:
    """A command's wait is counted without what it prepares, and without a person who thinks about a question."""
    patience = Patience(0.2)
    time.sleep(0.25)
    assert not patience.is_over
    time.sleep(0.25)
    assert patience.is_over
    assert Patience(0).is_over
    assert not Patience(None).is_over
