"""Endpoints on this machine: real servers in the real image, with serve.py files of a few lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import wait_for
from local_endpoints import SERVE, create, delete, invoke, make_config, processes, servers, settled, status
from local_jobs import Machine, machine_in

RAISES = "def model_fn(model_dir, context=None):\n    raise OSError('the weights have fleas')\n"
SERVERLESS = {"ServerlessConfig": {"MemorySizeInMB": 3072, "MaxConcurrency": 7}}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Iterator[Machine]:
    with machine_in(tmp_path_factory.mktemp("endpoints"), warm_python.as_uri()) as machine:
        yield machine


@pytest.fixture(scope="module")
def dogs(machine: Machine) -> Machine:
    """The endpoint `dogs`, while it comes up."""
    make_config(machine, "dogs")
    create(machine, "dogs")
    return machine


def test_creating_until_ping_answers(dogs: Machine) -> None:
    assert status(dogs, "dogs") == "Creating"
    with pytest.raises(ClientError, match="not found"):
        invoke(dogs, "dogs")
    described = settled(dogs, "dogs")
    assert described["EndpointStatus"] == "InService"
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert dogs.log(group="/aws/sagemaker/Endpoints/dogs").count("loading dogs") == 1
    assert invoke(dogs, "dogs") == '{"model": "dogs", "bytes": 3}'


@pytest.mark.parametrize(
    ("body", "content_type", "code", "words"),
    [(b"dog", "text/html", 415, "only JPEG"), (b"crash", "image/jpeg", 500, "no dog can crash me")],
)
def test_errors_of_the_container_are_model_errors(
    dogs: Machine, body: bytes, content_type: str, code: int, words: str
) -> None:
    settled(dogs, "dogs")
    with pytest.raises(dogs.runtime.exceptions.ModelError) as caught:
        invoke(dogs, "dogs", body, content_type)
    answer = caught.value.response
    assert answer["OriginalStatusCode"] == code
    assert words in answer["OriginalMessage"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert invoke(dogs, "dogs") == '{"model": "dogs", "bytes": 3}'


def test_a_body_over_the_limit_is_refused(dogs: Machine) -> None:
    settled(dogs, "dogs")
    assert '"bytes": 6291456' in invoke(dogs, "dogs", bytes(6_291_456))
    with pytest.raises(ClientError, match=r"\(ValidationError\).* less than or equal to 6291456"):
        invoke(dogs, "dogs", bytes(6_291_457))


def test_what_invoke_cannot_do_is_refused(dogs: Machine) -> None:
    settled(dogs, "dogs")
    with pytest.raises(ClientError, match="TargetModel"):
        dogs.runtime.invoke_endpoint(EndpointName="dogs", Body=b"dog", TargetModel="other.tar.gz")


def test_a_name_is_taken_until_the_endpoint_is_deleted(dogs: Machine) -> None:
    code, message = dogs.error("create_endpoint", EndpointName="dogs", EndpointConfigName="dogs")
    assert (code, message.partition(" endpoint ")[0]) == ("ValidationException", "Cannot create already existing")
    code, message = dogs.error("create_endpoint", EndpointName="other", EndpointConfigName="no-such-config")
    assert message.startswith('Could not find endpoint configuration "arn:aws:sagemaker:')


def test_an_update_serves_on_without_one_error(dogs: Machine) -> None:
    settled(dogs, "dogs")
    make_config(dogs, "cats")
    answers: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answers.append(invoke(dogs, "dogs"))

    def ask_slowly() -> None:
        while not over.is_set():
            answers.append(invoke(dogs, "dogs", b"slow"))

    threads = [threading.Thread(target=ask), threading.Thread(target=ask_slowly)]
    failures: list[Any] = []
    threading.excepthook = lambda hook: failures.append(hook.exc_value)
    try:
        for thread in threads:
            thread.start()
        wait_for(lambda: len(answers) > 1)
        dogs.sagemaker.update_endpoint(EndpointName="dogs", EndpointConfigName="cats")
        assert status(dogs, "dogs") == "Updating"
        code, message = dogs.error("update_endpoint", EndpointName="dogs", EndpointConfigName="dogs")
        assert (code, "Updating" in message) == ("ValidationException", True)
        described = settled(dogs, "dogs")
        wait_for(lambda: '"model": "cats"' in answers[-1])
    finally:
        over.set()
        for thread in threads:
            thread.join()
        threading.excepthook = threading.__excepthook__
    assert not failures
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", "cats")
    assert '"model": "dogs"' in answers[0]
    wait_for(lambda: len(servers(dogs, "dogs")) == 1)


def test_a_failed_update_keeps_the_old_model(dogs: Machine) -> None:
    settled(dogs, "dogs")
    make_config(dogs, "fleas", RAISES)
    before = invoke(dogs, "dogs")
    dogs.sagemaker.update_endpoint(EndpointName="dogs", EndpointConfigName="fleas")
    described = settled(dogs, "dogs")
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] != "fleas"
    assert "ping health check" in described["FailureReason"]
    assert invoke(dogs, "dogs") == before
    assert len(servers(dogs, "dogs")) == 1
    make_config(dogs, "clouds", on=SERVERLESS)
    refused = dogs.error("update_endpoint", EndpointName="dogs", EndpointConfigName="clouds")
    assert refused == ("ValidationException", "An endpoint on instances cannot be updated to a serverless one.")


def test_delete_ends_the_process_and_the_name_is_free_at_once(dogs: Machine) -> None:
    settled(dogs, "dogs")
    assert servers(dogs, "dogs")
    dogs.sagemaker.delete_endpoint(EndpointName="dogs")
    while "dogs" in [entry["EndpointName"] for entry in dogs.sagemaker.list_endpoints()["Endpoints"]]:
        time.sleep(0.01)
    create(dogs, "dogs")
    delete(dogs, "dogs")  # while it is Creating
    assert not list((dogs.home.jobs / "endpoint.dogs").glob("server-*"))
    code, message = dogs.error("delete_endpoint", EndpointName="dogs")
    assert (code, message.startswith("Could not find endpoint")) == ("ValidationException", True)


def test_delete_while_updating(machine: Machine) -> None:
    make_config(machine, "first")
    make_config(machine, "second", "import time\ntime.sleep(600)\n" + SERVE)
    create(machine, "updated", "first")
    settled(machine, "updated")
    machine.sagemaker.update_endpoint(EndpointName="updated", EndpointConfigName="second")
    wait_for(lambda: len(servers(machine, "updated")) == 2)
    delete(machine, "updated")  # without waiting for the second, which would sleep for 600 s


def test_endpoints_that_cannot_start_fail_with_reason_and_log(machine: Machine) -> None:
    make_config(machine, "raises", RAISES)
    make_config(machine, "broken", archive=b"no archive")
    for name in ("raises", "broken"):
        create(machine, name)
    raises, broken = settled(machine, "raises"), settled(machine, "broken")
    assert (raises["EndpointStatus"], broken["EndpointStatus"]) == ("Failed", "Failed")
    assert "did not pass the ping health check" in raises["FailureReason"]
    assert "the weights have fleas" in raises["FailureReason"]
    assert "the weights have fleas" in machine.log(group="/aws/sagemaker/Endpoints/raises")
    assert "cannot be unpacked" in broken["FailureReason"]
    for name in ("raises", "broken"):
        assert machine.error("update_endpoint", EndpointName=name, EndpointConfigName=name)[0] == "ValidationException"
        wait_for(lambda name=name: not processes(machine, name))  # type: ignore[misc]
        delete(machine, name)


def test_a_server_that_ends_makes_the_endpoint_failed(machine: Machine) -> None:
    make_config(machine, "mortal", on=SERVERLESS)
    create(machine, "mortal")
    (variant,) = settled(machine, "mortal")["ProductionVariants"]
    assert variant["CurrentServerlessConfig"] == SERVERLESS["ServerlessConfig"]
    assert "CurrentInstanceCount" not in variant
    assert '"model": "mortal"' in invoke(machine, "mortal")
    with pytest.raises(machine.runtime.exceptions.ModelError):
        invoke(machine, "mortal", b"exit")
    wait_for(lambda: status(machine, "mortal") == "Failed")
    assert "exit code 7" in machine.sagemaker.describe_endpoint(EndpointName="mortal")["FailureReason"]
    with pytest.raises(ClientError, match="not found"):
        invoke(machine, "mortal")
    delete(machine, "mortal")
