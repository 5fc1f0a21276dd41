"""Every AWS error that we know: what it means, what to do, the exit code; how often a request is sent at most."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_messages import FAILED, REFUSED
from botocore import exceptions as its
from botocore.exceptions import ClientError
from click.testing import CliRunner
from failing_aws import FailingAws, failing_aws

from dogbreed_cli import jobs
from dogbreed_cli.aws_errors import UNKNOWN, explain, explain_failure
from dogbreed_cli.aws_meanings import FAILURES, REFUSALS, find_meaning
from dogbreed_cli.cli import cli
from dogbreed_cli.errors import DogbreedError, JobFailed


def refusal(operation: str, code: str, message: str, **metadata: Any) -> ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"RequestId": "id-1", **metadata}}
    return ClientError(response, operation)  # type: ignore[arg-type]


@pytest.mark.parametrize(("operation", "code", "message", "exit_code", "why", "fix"), REFUSED)
def test_what_a_refusal_means(operation: str, code: str, message: str, exit_code: int, why: str, fix: str) -> None:
    error = explain(refusal(operation, code, message))
    assert error is not None
    assert error.exit_code == exit_code
    assert message in error.what and operation in error.what
    assert why in error.why and f"({code}, request id-1)" in error.why
    assert fix in error.fix


def test_every_meaning_is_reached() -> None:
    """An entry that none of the messages finds stands behind one that takes its errors, or says what AWS does not."""
    found = [find_meaning(REFUSALS, code, message, operation) for operation, code, message, *_ in REFUSED]
    wordings = {entry.why.split("{")[0] for entry in REFUSALS}
    assert not [why for why in wordings if not any(one and one.why.startswith(why) for one in found)]
    reached = [find_meaning(FAILURES, "", reason) for reason, *_ in FAILED]
    wordings = {entry.why.split("{")[0] for entry in FAILURES}
    assert not [why for why in wordings if not any(one and one.why.startswith(why) for one in reached)]


def test_an_unknown_code_keeps_awss_words_and_says_where_to_look() -> None:
    error = explain(refusal("CreateModel", "BrandNewException", "Something {new}."))
    assert error and type(error) is DogbreedError
    assert "Something {new}." in error.what
    assert "BrandNewException, request id-1" in error.why
    assert error.fix == UNKNOWN.fix
    assert explain(KeyError("x")) is None


def test_an_error_may_say_next_to_nothing() -> None:
    error = explain(ClientError({}, "HeadObject"))  # type: ignore[arg-type]
    assert error and "request unknown" in error.why


@pytest.mark.parametrize(("reason", "why", "fix"), FAILED)
def test_what_a_failure_means(reason: str, why: str, fix: str) -> None:
    said, to_do = explain_failure(reason)
    assert why in said
    assert fix in to_do
    if "ErrorMessage" not in reason:
        assert said.startswith(reason), "AWS's own words are lost"


def test_the_scripts_own_words_come_first_and_are_not_taken_for_awss() -> None:
    reason = 'AlgorithmError: ExecuteUserScriptError:\nErrorMessage "ValueError: no subnet in Interrupted"\nCommand "x"'
    assert explain_failure(reason) == ("ValueError: no subnet in Interrupted", "")
    with pytest.raises(JobFailed) as caught:
        jobs.require_completed("training job", "j", "Failed", FAILED[0][0])
    assert caught.value.why.startswith("torch.OutOfMemoryError: CUDA out of memory.")
    assert caught.value.fix.endswith("see `dogbreed logs j`") and "train.batch_size" in caught.value.fix
    with pytest.raises(JobFailed) as caught:
        jobs.require_completed("training job", "j", "Stopped", "MaxRuntimeExceeded")
    assert "train.max_run" in caught.value.fix


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (its.UnauthorizedSSOTokenError(), 4, "aws sso login"),
        (its.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"), 4, "aws sso login"),
        (its.LoginRefreshRequired(), 4, "aws login"),
        (its.RefreshWithMFAUnsupportedError(), 4, "MFA"),
        (its.ProfileNotFound(profile="p"), 4, "aws.profile"),
        (its.NoCredentialsError(), 4, "aws configure"),
        (its.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), 4, "aws configure"),
        (its.ParamValidationError(report="Invalid length"), 2, "mend"),
        (its.ProxyConnectionError(proxy_url="http://u:planted@p:1"), 1, "HTTPS_PROXY"),
        (its.SSLError(endpoint_url="https://x", error="self-signed"), 1, "AWS_CA_BUNDLE"),
        (its.EndpointConnectionError(endpoint_url="https://sagemaker.us-east-7.amazonaws.com/"), 1, "aws.region"),
        (its.ReadTimeoutError(endpoint_url="https://x"), 1, "network"),
        (its.InvalidRegionError(region_name="us east"), 1, "aws.region"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_botocore_itself_says(error: Exception, code: int, said: str) -> None:
    explained = explain(error)
    assert explained and explained.exit_code == code
    assert said in explained.fix
    assert "planted" not in str(explained)


# ---- tries


@pytest.fixture
def failing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingAws]:
    with failing_aws() as aws:
        for name, value in {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "DOGBREED_TARGET": "aws",
            "DOGBREED_AWS__REGION": "us-east-1",
            "DOGBREED_AWS__BUCKET": "my-bucket",
            "DOGBREED_AWS__ROLE_ARN": "arn:aws:iam::123456789012:role/r",
            "DOGBREED_AWS__TRAINING_IMAGE": "1.dkr.ecr.us-east-1.amazonaws.com/x:1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield aws


@pytest.mark.parametrize(("status", "code"), [(503, "ServiceUnavailable"), (400, "ThrottlingException")])
def test_a_request_is_tried_as_often_as_botocore_may_and_the_error_says_it(
    failing: FailingAws, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing.status, failing.code = status, code
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    result = CliRunner().invoke(cli, ["--json", "status"])
    found = json.loads(result.stdout)
    assert result.exit_code == found["code"] == 1
    assert found["why"].endswith(f"({code}, request id-7, tried 2 times)")
    assert list(failing.asked.values()) == [2], failing.asked


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["logs"],
        ["report"],
        ["deploy", "--yes"],
        ["teardown", "--yes"],
        ["tune", "--yes"],
        ["train", "--from-best", "--yes"],
        ["train", "--attach", "dogbreed-train-261122-194300"],
    ],
    ids=" ".join,
)
def test_nothing_of_ours_tries_again_on_top(
    failing: FailingAws, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1, result.output
    assert "ServiceUnavailable" in result.stderr or "503" in result.stderr
    assert set(failing.asked.values()) == {1}, failing.asked
