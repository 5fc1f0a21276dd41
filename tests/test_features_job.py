"""The features job: made once, found again by every command that asks for the same features."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Dogbreed, Forked, processes_of, read_until

from dogbreed_cli.local import Home, connect

ON = {"DOGBREED_DEBUGGER__ENABLED": "false", "DOGBREED_FEATURES__ENABLED": "true", "DOGBREED_MODEL__IMAGE_SIZE": "32"}


@pytest.fixture(scope="module")
def dogbreed(dogs: Path, warm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dogbreed]:
    dogbreed = Forked(tmp_path_factory.mktemp("features"), {**ON, "DOGBREED_LOCAL__PYTHON": str(warm_python)})
    dogbreed.run("upload", str(dogs))
    yield dogbreed
    dogbreed.run("teardown", "--yes")
    assert not processes_of(dogbreed.folder)


@pytest.fixture(scope="module")
def job(dogbreed: Dogbreed) -> str:
    """The features job that a first tuning made."""
    found = dogbreed.json("tune", "--max-jobs", "2", "--epochs", "2")
    assert len(found["trials"]) == 2
    return found["features_job"]


def channels(dogbreed: Dogbreed, *arguments: str) -> list[list[str]]:
    """Of each request that a dry run shows."""
    sent = dogbreed.json(*arguments, "--dry-run")["dry_run"]
    requests = [one.get("TrainingJobDefinition", one) for one in sent]
    return [[channel["ChannelName"] for channel in request["InputDataConfig"]] for request in requests]


def test_a_training_finds_the_features_of_the_tuning(dogbreed: Dogbreed, job: str) -> None:
    assert job.startswith("dogbreed-features-")
    done = dogbreed.run("--json", "train", "--from-best", "--epochs", "2")
    assert f'"features_job": "{job}"' in done.stdout
    assert f"features: there, from {job}" in done.stderr
    assert "no image is read" in done.stderr
    assert "test:accuracy" in done.stdout


def test_it_is_shown_with_the_trials_and_by_status(dogbreed: Dogbreed, job: str) -> None:
    tuning = next(one for one in dogbreed.json("status", "--all")["items"] if one["kind"] == "tuning job")
    kinds = {one["name"]: one["kind"] for one in dogbreed.json("status", "--all")["items"]}
    assert kinds[job] == "features job"
    followed = dogbreed.run("tune", "--attach", tuning["name"])
    shown = [line for line in followed.stdout.splitlines() if "Completed" in line]
    assert job.removeprefix("dogbreed-") in shown[0] and len(shown) == 3
    assert dogbreed.json("tune", "--attach", tuning["name"])["features_job"] == job


def test_a_training_that_was_stopped_is_gone_on_with_by_the_same_command(dogbreed: Dogbreed, job: str) -> None:
    train = ("--set", "train.patience=0", "train", "--epochs", "300")
    with dogbreed.start(*train) as following:
        name = read_until(following, r"^training job (\S+)")
        read_until(following, r"(epoch=5) ")
        # As the console stops it: the job saves its best model, and keeps its checkpoint.
        connect(Home(dogbreed.folder / ".dogbreed")).client("sagemaker").stop_training_job(TrainingJobName=name)
        following.communicate()
    first = re.search(r"going on after epoch (\d+) of checkpoint", dogbreed.run(*train).stderr)
    assert first and int(first[1]) >= 5
    assert "going on" not in dogbreed.run(*train).stderr, "that training had finished"


def test_both_ways_give_the_same_loss_on_the_same_epoch(dogbreed: Dogbreed, job: str) -> None:
    exact = ("--set", "features.precision=fp32", "--set", "features.engine=torch", "train", "--epochs", "2")
    losses = [dogbreed.json(*exact, way)["metrics"]["validation:loss"] for way in ("--features", "--no-features")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_jobs_on_features_have_no_image_channels(dogbreed: Dogbreed, job: str) -> None:
    assert channels(dogbreed, "tune") == [["features"]]
    assert channels(dogbreed, "train", "--no-features") == [["train", "valid", "test"]]


@pytest.mark.parametrize("change", ["train.seed=7", "features.views=2", "model.image_size=96"])
def test_other_settings_need_other_features(dogbreed: Dogbreed, job: str, change: str) -> None:
    assert channels(dogbreed, "--set", change, "train") == [["train", "valid", "test"], ["features"]]


@pytest.mark.parametrize("change", ["train.unfreeze=all", "features.views=0"])
def test_what_cannot_be_cached_is_not(dogbreed: Dogbreed, job: str, change: str) -> None:
    assert channels(dogbreed, "--set", change, "train") == [["train", "valid", "test"]]


def test_its_name_is_not_to_be_had(dogbreed: Dogbreed, job: str) -> None:
    refused = dogbreed.run("train", "--name", "dogbreed-features-mine", code=2)
    assert "that of a features job" in refused.stderr


def test_there_is_no_report_on_it(dogbreed: Dogbreed, job: str) -> None:
    refused = dogbreed.run("report", "--job", job, code=2)
    assert f"{job} is a features job, which trained nothing" in refused.stderr


def test_lbfgs_needs_features(dogbreed: Dogbreed, job: str) -> None:
    refused = dogbreed.run("--set", "train.optimizer=lbfgs", "train", "--no-features", code=2)
    assert "lbfgs" in refused.stderr
