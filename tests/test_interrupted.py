"""What users do to a command that waits: Ctrl-C, kill -9, a time-out, a second one beside it."""

from __future__ import annotations

import json
import signal

from conftest import Dogbreed, read_until

from dogbreed_cli.local import Home, connect


def test_ctrl_c_detaches_and_attach_goes_on(project: Dogbreed) -> None:
    waiting = project.start("train", "--epochs", "2")
    job = read_until(waiting, r"training job (\S+)")
    read_until(waiting, r"\] (Training)")
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert f"dogbreed train --attach {job}" in said
    assert project.json("train", "--attach", job)["status"] == "Completed"


def test_a_killed_cli_a_timeout_and_no_wait_leave_the_job_running(project: Dogbreed) -> None:
    job = project.json("--set", "train.patience=0", "train", "--epochs", "1000", "--no-wait")["training_job"]
    said = project.run("train", "--attach", job, "--timeout", "0.5", code=8).stderr
    assert f"dogbreed train --attach {job}" in said
    waiting = project.start("train", "--attach", job)
    read_until(waiting, r"\] (\w+)")
    waiting.kill()
    waiting.communicate()
    assert [item["name"] for item in project.json("status")["items"]] == [job]
    waiting = project.start("train", "--attach", job)
    read_until(waiting, r"(epoch=1) ")
    connect(Home(project.folder / ".dogbreed")).client("sagemaker").stop_training_job(TrainingJobName=job)
    said = waiting.communicate(timeout=60)[1]
    assert (waiting.returncode, f"training job {job} ended Stopped" in said) == (5, True), said


def test_two_tunings_at_once_each_have_their_own_trials(project: Dogbreed) -> None:
    arguments = ("--json", "tune", "--max-jobs", "1", "--epochs", "1", "--strategy", "Random")
    both = [project.start(*arguments), project.start(*arguments)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    results = [json.loads(out) for out, _ in outputs]
    assert results[0]["tuning_job"] != results[1]["tuning_job"]
    for result in results:
        assert len(result["trials"]) == 1
        assert all(trial["TrainingJobName"].startswith(result["tuning_job"]) for trial in result["trials"])
