"""`teardown`: in which order things go, and that one that is refused keeps no other from going."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from answering_aws import Account, serve_account
from conftest import InProcess, wait_for
from local_jobs import Machine
from serving_machine import document

from dogbreed_cli import requests
from dogbreed_cli.config import Config

# Told to stop, it goes on until the endpoint is gone; or until SageMaker kills it.
UNTIL_THE_ENDPOINT_IS_GONE = """
import pathlib, signal, sys, time
def wait(*_):
    while pathlib.Path({record!r}).exists():
        time.sleep(0.05)
    pathlib.Path({told!r}).write_text("the endpoint went first")
    sys.exit()
signal.signal(signal.SIGTERM, wait)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Account, InProcess]]:
    """An account in which a test says what is there, and the commands on it."""
    with serve_account() as (account, url):
        environment = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_PRICING": "http://127.0.0.1:9",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": str(tmp_path / "none"),
            "AWS_MAX_ATTEMPTS": "1",
            "DOGBREED_TARGET": "aws",
            "DOGBREED_AWS__REGION": "us-east-1",
            "DOGBREED_AWS__BUCKET": "bucket",
            "DOGBREED_AWS__POLL_SECONDS": "0.1",
            "DOGBREED_AWS__ROLE_ARN": "arn:aws:iam::123456789012:role/dogbreed",
        }
        yield account, InProcess(tmp_path, environment)


def test_endpoints_do_not_wait_for_a_job_that_takes_its_time_to_stop(trained: Machine, tmp_path: Path) -> None:
    document("deploy")
    record, told = trained.home.records / "endpoint" / "dogbreed-endpoint.json", tmp_path / "told"
    assert record.exists()
    script = UNTIL_THE_ENDPOINT_IS_GONE.format(record=str(record), told=str(told))
    trained.train("dogbreed-slow", script, Tags=requests.tags(Config()), max_run=600)
    wait_for(lambda: trained.said("dogbreed-slow", "ready"))
    kinds = [item["kind"] for item in document("teardown", "--yes")["removed"]]
    assert kinds == ["training job", "endpoint", "endpoint-config", "model"]
    assert told.exists()
    assert trained.describe("dogbreed-slow")["TrainingJobStatus"] == "Stopped"


def test_a_job_that_may_not_be_stopped_keeps_no_endpoint(served: tuple[Account, InProcess]) -> None:
    account, dogbreed = served
    account.jobs["dogbreed-train-1"] = "InProgress"
    for there in account.things.values():
        there.append("dogbreed-endpoint")
    account.refused.add("StopTrainingJob")
    failed = dogbreed.json("teardown", "--yes", code=4)
    assert failed["error"] == "1 are still there: training job dogbreed-train-1"
    assert "sagemaker:StopTrainingJob" in failed["why"]
    assert "dogbreed teardown" in failed["fix"]
    assert account.things == {"Endpoint": [], "EndpointConfig": [], "Model": []}
    account.refused.clear()
    assert [item["name"] for item in dogbreed.json("teardown", "--yes")["removed"]] == ["dogbreed-train-1"]


def test_what_an_endpoint_that_stays_may_need_stays(served: tuple[Account, InProcess]) -> None:
    account, dogbreed = served
    account.jobs["dogbreed-train-1"] = "InProgress"
    for there in account.things.values():
        there.append("dogbreed-endpoint")
    account.refused.add("DeleteEndpoint")
    failed = dogbreed.json("teardown", "--yes", code=4)
    assert failed["error"].startswith("3 are still there: endpoint dogbreed-endpoint, endpoint-config dogbreed-")
    assert account.jobs == {"dogbreed-train-1": "Stopped"}
    assert account.changed == [("StopTrainingJob", "dogbreed-train-1"), ("DeleteEndpoint", "dogbreed-endpoint")]


def test_a_warm_pool_is_shown_with_its_price_and_ended(served: tuple[Account, InProcess]) -> None:
    account, dogbreed = served
    account.pools["dogbreed-train-1"] = "Available"
    (item,) = dogbreed.json("status")["items"]
    assert item["usd_per_hour"] > 0
    (planned,) = dogbreed.json("teardown", "--dry-run")["planned"]
    assert (planned["kind"], planned["name"]) == ("warm pool", "dogbreed-train-1")
    assert f"{item['usd_per_hour']:.4f} USD an hour" in planned["note"]
    assert account.changed == []
    assert dogbreed.json("teardown", "--yes")["removed"] == [planned]
    assert account.pools == {"dogbreed-train-1": "Terminated"}
    assert dogbreed.json("teardown", "--dry-run")["planned"] == []


def test_a_warm_pool_that_a_job_took_meanwhile_is_none_to_end(served: tuple[Account, InProcess]) -> None:
    account, dogbreed = served
    account.pools["dogbreed-train-1"] = "Available"
    account.refused.add("UpdateTrainingJob")
    assert "warm pool dogbreed-train-1" in dogbreed.json("teardown", "--yes", code=4)["error"]
    account.reused_when_asked = True
    assert [item["name"] for item in dogbreed.json("teardown", "--yes")["removed"]] == ["dogbreed-train-1"]
