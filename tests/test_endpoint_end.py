"""Endpoints that end themselves, and that have to pass a test, on this machine."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import wait_for
from local_jobs import Machine
from PIL import Image
from serving_machine import add_training_job, configs, document, invoke, models

from dogbreed_cli import endpoint_requests
from dogbreed_cli.options import NEVER, Duration, write_duration

ROLE = "arn:aws:iam::123456789012:role/dogbreed"


def endpoints(trained: Machine) -> list[str]:
    return [one["EndpointName"] for one in trained.sagemaker.list_endpoints()["Endpoints"]]


# ---- --expires, here


def test_an_endpoint_ends_itself(trained: Machine) -> None:
    found = document("deploy", "--expires", "3s")
    ends_at = datetime.fromisoformat(found["ends_at"])
    assert timedelta(seconds=-5) < ends_at - datetime.now(UTC) < timedelta(seconds=4)
    wait_for(lambda: not endpoints(trained))
    assert datetime.now(UTC) > ends_at - timedelta(seconds=1)
    wait_for(lambda: not trained.processes())
    scheduler = trained.session.client("scheduler")
    with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
        scheduler.get_schedule(Name="dogbreed-endpoint")


def test_status_shows_the_time_left_and_teardown_takes_the_schedule(trained: Machine) -> None:
    first = document("deploy", "--expires", "2h")["ends_at"]
    assert document("deploy")["ends_at"] == first, "it keeps its end"
    assert "dogbreed-one: it ends itself at " in invoke("deploy", "--job", "dogbreed-one").stderr, "and an update, too"
    assert document("deploy", "--job", "dogbreed-one", "--expires", "3h")["ends_at"] > first
    (item,) = document("status")["items"]
    assert item["ends_at"] > first
    assert re.search("2 h 59 min|3 h 00 min", invoke("status").stdout)
    assert document("deploy", "--expires", "never")["ends_at"] is None
    assert "ends in" not in invoke("status").stdout
    document("deploy", "--expires", "1d")
    planned = [(one["kind"], one["name"]) for one in document("teardown", "--dry-run")["planned"]]
    assert planned[:2] == [("endpoint", "dogbreed-endpoint"), ("schedule", "dogbreed-endpoint")]
    document("teardown", "--yes")
    assert document("deploy")["ends_at"] is None


def test_an_end_that_was_left_over_does_not_end_the_next(trained: Machine) -> None:
    document("deploy", "--expires", "2h")
    trained.sagemaker.delete_endpoint(EndpointName="dogbreed-endpoint")
    wait_for(lambda: not endpoints(trained))
    assert document("deploy")["ends_at"] is None


def test_a_failed_deploy_leaves_no_schedule(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    document("deploy", "--expires", "2h", code=5)
    assert document("teardown", "--dry-run")["planned"] == []
    assert not list((trained.home.records / "schedule").glob("*.json"))


def test_an_update_that_nobody_waits_for_has_its_end_already(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-slow", time.time(), file="slow.pt")
    document("deploy", "--job", "dogbreed-one")
    left = document("deploy", "--expires", "2h", "--timeout", "0", code=8)
    (item,) = document("status")["items"]
    assert item["ends_at"] is not None
    # Following it again must not move its end.
    printed = left["fix"].partition("again: dogbreed ")[2].split()
    assert printed == ["deploy", "--job", "dogbreed-slow"]
    assert document(*printed)["ends_at"] == item["ends_at"]


def test_a_failed_update_leaves_the_former_end(trained: Machine) -> None:
    document("deploy")
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    document("deploy", "--expires", "2h", code=5)
    assert document("status")["items"][0]["ends_at"] is None
    former = document("deploy", "--job", "dogbreed-one", "--expires", "3h")["ends_at"]
    document("deploy", "--expires", "never", code=5)
    assert document("status")["items"][0]["ends_at"] == former


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1d", 86400), ("5s", 5), ("never", 0)]
)
def test_times_as_they_are_typed(text: str, seconds: int) -> None:
    found = Duration().convert(text, None, None)
    assert found.total_seconds() == seconds
    assert (found == NEVER) == (text == "never")
    assert Duration().convert(write_duration(found), None, None) == found


@pytest.mark.parametrize("text", ["2", "2x", "h", "0m", "400d", "-1h", "1m1h", "9" * 30 + "d"])
def test_what_is_no_time_is_a_usage_error(text: str, trained: Machine) -> None:
    assert "--expires" in document("deploy", "--expires", text, code=2)["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"ScheduleExpression": "rate(1 hour)"},
        {"ScheduleExpression": "at(yesterday)"},
        {"ScheduleExpressionTimezone": "Europe/Berlin"},
        {"State": "DISABLED"},
        {"GroupName": "mine"},
        {"KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1"},
        {"Target": {"Arn": "arn:aws:sqs:us-east-1:123456789012:q", "RoleArn": ROLE}},
        {"Target": {"Arn": "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint", "RoleArn": ROLE, "Input": "[]"}},
    ],
)
def test_what_the_local_scheduler_cannot_do_it_refuses(change: dict[str, Any], trained: Machine) -> None:
    scheduler = trained.session.client("scheduler")
    request = endpoint_requests.end(ROLE, "dogs", datetime.now(UTC))
    with pytest.raises(ClientError) as caught:
        scheduler.create_schedule(**{**request, **change})
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    for method in ("update_schedule", "delete_schedule", "get_schedule"):
        with pytest.raises(scheduler.exceptions.ResourceNotFoundException):
            getattr(scheduler, method)(**(request if method == "update_schedule" else {"Name": "dogs"}))


# ---- --test


def test_an_endpoint_that_fails_its_test_is_removed_or_gets_its_old_model_back(trained: Machine, dogs: Path) -> None:
    good, bad = next(dogs.rglob("*.jpg")), trained.folder / "small.png"
    Image.new("RGB", (8, 8)).save(bad)  # which this model does not survive
    failed = document("deploy", "--test", str(bad), code=5)
    assert ("small.png" in failed["error"], failed["why"]) == (True, "MemoryError: too small")
    assert (models(trained), configs(trained), endpoints(trained)) == ([], [], [])
    done = invoke("deploy", "--job", "dogbreed-one", "--test", str(good))
    assert "Beagle 100.0%" in done.stderr
    (served,) = configs(trained)
    said = invoke("deploy", "--job", "dogbreed-two", "--test", str(bad), code=5).stderr
    assert f"back to {served}" in said
    assert (models(trained), configs(trained)) == (["dogbreed-one"], [served])
    found = trained.sagemaker.describe_endpoint(EndpointName="dogbreed-endpoint")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", served)


def test_a_test_that_cannot_be(trained: Machine) -> None:
    (trained.folder / "a.jpg").write_text("no image")
    for arguments in (["--test", "a.jpg"], ["--test", "missing.jpg"], ["--test", "a.jpg", "--no-wait"]):
        assert "--test" in document("deploy", *arguments, code=2)["error"]
    assert endpoints(trained) == []


def test_stages_are_said(trained: Machine) -> None:
    said = invoke("deploy", "--job", "dogbreed-one").stderr
    assert "Creating: the server starts" in said and "] InService" in said
    assert "Updating: the old model serves until the new one answers" in invoke("deploy").stderr


def test_a_machine_does_not_scale_and_says_so(trained: Machine) -> None:
    assert "this machine has one instance" in invoke("--set", "deploy.max_instances=3", "deploy").stderr
