"""`deploy`: what endpoints share, two at once, one that fails, moves or vanishes; `predict` where the image breaks."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from conftest import wait_for
from local_jobs import Machine
from PIL import Image
from serving_machine import add_training_job, configs, document, invoke, models

from dogbreed_cli import endpoint_requests, requests, resources
from dogbreed_cli.config import Config
from dogbreed_cli.console import Console
from dogbreed_cli.context import App
from dogbreed_cli.deployment import build, create_missing, settle, undone_on_failure
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.local import BUCKET, ROLE_ARN
from dogbreed_cli.session import open_session
from dogbreed_cli.waiting import Patience, detachable


def test_another_instance_type_keeps_the_model(trained: Machine) -> None:
    first = document("deploy")["endpoint_config"]
    second = document("deploy", "--instance-type", "ml.c5.large")["endpoint_config"]
    assert first != second
    assert (models(trained), configs(trained)) == (["dogbreed-two"], [second])


def test_an_update_keeps_what_another_endpoint_serves_with(trained: Machine) -> None:
    shared = [document("deploy", "--name", f"dogbreed-{it}", "--job", "dogbreed-one") for it in "ab"]
    new = document("deploy", "--name", "dogbreed-a", "--job", "dogbreed-two")
    assert models(trained) == ["dogbreed-one", "dogbreed-two"]
    assert configs(trained) == sorted({shared[1]["endpoint_config"], new["endpoint_config"]})


def test_two_deploys_at_once_both_end_well(trained: Machine) -> None:
    command = [sys.executable, "-m", "dogbreed_cli", "deploy"]
    both = []
    for pause in (0.3, 0):
        both.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        time.sleep(pause)
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (models(trained), len(configs(trained))) == (["dogbreed-two"], 1)


def test_what_a_failed_or_broken_off_deploy_made_is_removed(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    failed = document("deploy", code=5)
    assert "no model.pt" in failed["why"]
    assert (models(trained), configs(trained), trained.sagemaker.list_endpoints()["Endpoints"]) == ([], [], [])

    session = open_session(Config(), Console())
    site = requests.Site(BUCKET, ROLE_ARN, trained.image)
    uri = f"s3://{BUCKET}/jobs/dogbreed-one/output/model.tar.gz"
    model = endpoint_requests.model(Config(), site, "dogbreed-m", uri)
    with pytest.raises(KeyboardInterrupt), undone_on_failure(App(Console())) as undo:
        create_missing(session, "dogbreed", "model", model, undo)
        assert models(trained) == ["dogbreed-m"]
        raise KeyboardInterrupt
    assert models(trained) == []


def test_a_lost_connection_undoes_nothing_and_says_how_to_go_on() -> None:
    undone: list[int] = []
    with pytest.raises(DogbreedError) as caught, undone_on_failure(App(Console())) as undo:
        undo += [lambda: undone.append(1), lambda: undone.append(2)]
        with detachable("dogbreed deploy --job one"):
            raise EndpointConnectionError(endpoint_url="https://runtime.sagemaker.us-east-1.amazonaws.com")
    assert undone == []
    assert "cannot be reached" in caught.value.what
    assert caught.value.fix.endswith("what was started runs on, to follow it again: dogbreed deploy --job one")


def test_a_step_that_cannot_be_undone_keeps_no_other_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    undone: list[int] = []
    with pytest.raises(ZeroDivisionError), undone_on_failure(App(Console())) as undo:
        undo += [lambda: undone.append(1), lambda: [][0], lambda: undone.append(2)]
        raise ZeroDivisionError
    assert undone == [2, 1]
    assert "not everything could be undone: list index out of range" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "wait", "fix"),
    [("OutOfService", True, "--name"), ("UpdateRollbackFailed", True, "--name"), ("Deleting", False, "--no-wait")],
)
def test_what_does_not_serve_is_no_success(status: str, wait: bool, fix: str) -> None:
    """The answers are put in with botocore's own Stubber: here no endpoint comes to that."""
    client: Any = boto3.Session("test", "test", region_name="us-east-1").client("sagemaker")
    wanted = build(Config(), requests.Site(BUCKET, ROLE_ARN, "image"), "dogbreed-one", "dogbreed-endpoint", "s3://b/m")
    arn, then = (
        "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogbreed-endpoint",
        datetime(2026, 11, 23, tzinfo=UTC),
    )
    found = {"EndpointName": wanted.name, "EndpointArn": arn, "EndpointConfigName": wanted.config_name,
             "EndpointStatus": status, "CreationTime": then, "LastModifiedTime": then}  # fmt: skip
    session: Any = SimpleNamespace(client=lambda service: client)
    with Stubber(client) as answers, pytest.raises(DogbreedError, match=status) as caught:
        answers.add_response("describe_endpoint", found)
        answers.add_response("list_tags", {"Tags": requests.tags(Config())})
        settle(App(Console()), session, Config(), wanted, wait, Patience(None))
    assert fix in caught.value.fix


def test_an_update_that_is_not_wanted(trained: Machine) -> None:
    before = document("deploy", "--job", "dogbreed-one", "--no-update")["endpoint_config"]
    assert before in document("deploy", "--no-update", code=1)["error"]
    assert configs(trained) == [before]
    assert document("deploy", "--job", "dogbreed-one", "--no-update")["endpoint_config"] == before
    assert document("deploy", "--update")["endpoint_config"] != before


def test_an_endpoint_that_does_not_serve_yet_or_no_more(trained: Machine, dogs: Path) -> None:
    picture = str(next(dogs.rglob("*.jpg")))
    for letter, file, status, fix in (
        ("a", "never.pt", "Creating", "ask again when `dogbreed status` says InService"),
        ("b", "nothing", "Failed", "run `dogbreed deploy --name dogbreed-b`"),
    ):
        add_training_job(trained, f"dogbreed-job-{letter}", time.time(), file=file)
        invoke("deploy", "--name", f"dogbreed-{letter}", "--job", f"dogbreed-job-{letter}", "--no-wait")
        endpoint = f"dogbreed-{letter}"
        wait_for(lambda: trained.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointStatus"] == status)  # noqa: B023
        said = document("predict", picture, "--endpoint", endpoint, code=1)
        assert (said["error"], said["fix"]) == (f"endpoint {endpoint} is {status}", fix)
    assert "no endpoint dogbreed-none" in document("predict", picture, "--endpoint", "dogbreed-none", code=1)["error"]


def test_a_failed_endpoint_on_instances_is_made_anew_as_a_serverless_one(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    invoke("deploy", "--no-wait")
    wait_for(lambda: trained.sagemaker.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "Failed")
    assert document("deploy", "--job", "dogbreed-one", "--serverless")["status"] == "InService"


def test_a_failed_update_keeps_the_former_model(trained: Machine) -> None:
    before = document("deploy")
    add_training_job(trained, "dogbreed-bad", time.time(), file="nothing")
    assert before["endpoint_config"] in document("deploy", code=5)["error"]
    assert (models(trained), configs(trained)) == (["dogbreed-two"], [before["endpoint_config"]])


def test_an_endpoint_that_moves_is_waited_for_by_the_command_that_was_printed(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-slow", time.time(), file="slow.pt")
    options = ("--target", "local", "--set", "train.epochs=2")
    left = document(*options, "deploy", "--instance-type", "ml.c5.large", "--timeout", "0", code=8)
    printed = "dogbreed --target local --set train.epochs=2 deploy --job dogbreed-slow --instance-type ml.c5.large"
    assert left["fix"].endswith(printed)
    assert "leave out --no-wait" in document("deploy", "--job", "dogbreed-one", "--no-wait", code=1)["fix"]
    assert document(*printed.split()[1:])["status"] == "InService"
    former = document("deploy", "--no-wait")["endpoint_config"]
    # The same again, while it is under way; and what it is about to serve is not taken from under it.
    assert document("deploy", "--no-wait")["status"] == "Updating"
    assert resources.is_used(trained.sagemaker, "endpoint-config", former, "dogbreed")
    said = invoke("deploy", "--job", "dogbreed-one").stderr
    assert "Updating: that has to end first" in said
    assert trained.sagemaker.list_endpoints()["Endpoints"][0]["EndpointStatus"] == "InService"


def test_an_endpoint_of_another_project_is_left_alone(trained: Machine) -> None:
    invoke("--set", "project.name=dogbreed-x", "deploy", "--job", "dogbreed-one")
    said = document("deploy", "--name", "dogbreed-x-endpoint", code=1)
    assert "not of project dogbreed" in said["error"]
    assert models(trained) == ["dogbreed-one"]
    invoke("--set", "project.name=dogbreed-x", "deploy", "--job", "dogbreed-one")


def test_a_deploy_whose_endpoint_vanishes_says_so(trained: Machine) -> None:
    add_training_job(trained, "dogbreed-slow", time.time(), file="slow.pt")  # deleted before it answers
    process = subprocess.Popen([sys.executable, "-m", "dogbreed_cli", "deploy"], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: trained.sagemaker.list_endpoints()["Endpoints"])
    trained.sagemaker.delete_endpoint(EndpointName="dogbreed-endpoint")
    said = process.communicate(timeout=60)[1]
    assert "deleted meanwhile" in said
    assert (process.returncode, models(trained), configs(trained)) == (1, [], [])


def test_an_image_that_breaks_the_model_is_reported_and_the_rest_goes_on(trained: Machine, dogs: Path) -> None:
    invoke("deploy")
    small, big = trained.folder / "small.png", next(dogs.rglob("*.jpg"))
    Image.new("RGB", (8, 8)).save(small)
    answers = document("predict", str(small), str(big), code=1)["answers"]
    assert [answer["error"] for answer in answers] == ["MemoryError: too small", None]
    assert invoke("logs", "dogbreed-endpoint").stdout.startswith("serving\n")
    assert "is a directory" in invoke("predict", str(big), "--csv", ".", code=2).stderr
