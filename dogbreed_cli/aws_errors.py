"""botocore's exceptions and SageMaker's failure reasons -> our errors: AWS's own words, what they mean, what to do.

What a code or a sentence means stands in aws_meanings.py.
"""

from __future__ import annotations

import re
from typing import Any

from dogbreed_cli.aws_meanings import FAILURES, REFUSALS, SCRIPT_FAILURES, Meaning, find_meaning
from dogbreed_cli.errors import AccessError, DogbreedError, UsageError
from dogbreed_cli.masking import hide_urls

UNKNOWN = Meaning("AWS said no more", "read its words; `dogbreed check` looks at credentials, role, bucket and quotas")
LOGIN = "run `aws configure` or `aws sso login`, or set aws.profile in config.toml"
REACH = "check the network, its proxy, aws.region (us-east-1, say) and AWS_ENDPOINT_URL"


def explain(error: BaseException, doing: str = "") -> DogbreedError | None:
    """An error of boto3 or botocore as one of ours; None for any other. `doing` ("Listing s3://...") begins it."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, S3UploadFailedError) and isinstance(error.__context__, ClientError):
        error = error.__context__
    if isinstance(error, ClientError):
        return explain_refusal(error, doing)
    if isinstance(error, (BotoCoreError, S3UploadFailedError)):
        kind, what, fix = explain_client(error)
        return kind(f"{doing}: {what}" if doing else what, hide_urls(str(error)), fix)
    return None


def explain_refusal(error: Any, doing: str) -> DogbreedError:
    """A ClientError: AWS answered, and it was no."""
    said, metadata = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
    code, message = str(said.get("Code") or "?"), str(said.get("Message") or said.get("Code") or "?")
    meaning = find_meaning(REFUSALS, code, message, error.operation_name) or UNKNOWN
    # The only retries there are: botocore's. It gave up, or the error was none that another try could mend.
    tries = metadata.get("RetryAttempts", 0) + 1
    facts = [code, f"request {metadata.get('RequestId') or said.get('RequestId') or 'unknown'}"]
    if metadata.get("MaxAttemptsReached") and tries > 1:
        facts.append(f"tried {tries} times")
    what = f"{doing or error.operation_name} was refused: {hide_urls(message)}"
    return meaning.kind(what, f"{meaning.why} ({', '.join(facts)})", meaning.fix)


def explain_client(error: BaseException) -> tuple[type[DogbreedError], str, str]:
    """What botocore itself says, before or instead of AWS: the kind of error, what happened, what to do."""
    from botocore import exceptions as its

    if isinstance(error, (its.UnauthorizedSSOTokenError, its.SSOError, its.TokenRetrievalError)):
        return AccessError, "your AWS session has ended", "run `aws sso login` (with --profile, if you use one)"
    if isinstance(error, its.LoginError):
        return AccessError, "your AWS session has ended", "run `aws login` (with --profile, if you use one)"
    if isinstance(error, its.RefreshWithMFAUnsupportedError):
        return AccessError, "your AWS session has ended", "get new temporary keys with your MFA code"
    if isinstance(error, its.ProfileNotFound):
        return AccessError, "no such AWS profile", "set aws.profile to one of ~/.aws/config"
    if isinstance(error, (its.NoCredentialsError, its.PartialCredentialsError, its.CredentialRetrievalError)):
        return AccessError, "no AWS credentials", LOGIN
    if isinstance(error, its.ParamValidationError):
        return UsageError, "this cannot be sent", "mend the name or the value that it was made from"
    if isinstance(error, its.ProxyConnectionError):
        return DogbreedError, "the proxy cannot be reached", "check HTTPS_PROXY and NO_PROXY"
    if isinstance(error, its.SSLError):
        return DogbreedError, "AWS's certificate is not trusted", "set AWS_CA_BUNDLE to your network's certificates"
    if isinstance(error, (its.EndpointConnectionError, its.HTTPClientError, its.ConnectionError)):
        return DogbreedError, "AWS cannot be reached", REACH
    return DogbreedError, "AWS could not be asked", "check the network, aws.region and aws.profile"


def explain_failure(reason: str) -> tuple[str, str]:
    """(why, what to do) of a job's or endpoint's FailureReason: the script's own words first, or AWS's, and what they
    mean. What to do is "" where only those words can tell."""
    words = hide_urls(read_script_words(reason))
    meaning = find_meaning(SCRIPT_FAILURES if reason.startswith("AlgorithmError") else FAILURES, "", reason)
    return (f"{words} ({meaning.why})", meaning.fix) if meaning else (words, "")


def read_script_words(reason: str) -> str:
    """The script's own message out of SageMaker's FailureReason (`AlgorithmError: ...ErrorMessage "..."`)."""
    said = re.search(r'ErrorMessage "(.*?)"\s*(?:Command|, exit code|$)', reason, re.DOTALL)
    return (said[1] if said else reason).strip().replace("\\n", "\n")
