"""What SageMaker's operations on records share: filters, order and pages of lists, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from operator import itemgetter
from typing import Any

from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.records import Record

FILTERS = {
    "NextToken", "MaxResults", "SortBy", "SortOrder", "NameContains", "StatusEquals", "CreationTimeAfter",
    "CreationTimeBefore", "LastModifiedTimeAfter", "LastModifiedTimeBefore", "HyperParameterTuningJobName",
}  # fmt: skip
# AWS's default page. Small on purpose: a client that forgets to page is found out here, not on AWS.
PAGE = 10


def list_page(
    records: list[Record],
    request: Mapping[str, Any],
    result: str,
    name: str,
    status: str = "",
    order: str = "Ascending",
    sort_by: str = "CreationTime",
    by: Mapping[str, Callable[[Record], Any]] | None = None,
) -> dict[str, Any]:
    """The page of `records` that a List operation asks for.

    `name` and `status` are the kind's members for them, `order` and `sort_by` what AWS does unasked; `by` gives the
    keys of further SortBy values.
    """
    refuse_others(request, FILTERS)
    found = [record for record in records if matches(record, request, name, status)]
    keys: dict[str, Callable[[Record], Any]] = {"Name": itemgetter(name), "Status": itemgetter(status), **(by or {})}
    found.sort(key=keys.get(request.get("SortBy", sort_by), itemgetter("CreationTime")))
    if request.get("SortOrder", order) == "Descending":
        found.reverse()
    token, size = request.get("NextToken", "0"), request.get("MaxResults", PAGE)
    if not token.isdecimal():
        raise refusal(f"Invalid pagination token: {token}")
    start = int(token)
    answer: dict[str, Any] = {result: found[start : start + size]}
    if start + size < len(found):
        answer["NextToken"] = str(start + size)
    return answer


def matches(record: Record, request: Mapping[str, Any], name: str, status: str) -> bool:
    if request.get("NameContains", "") not in record[name]:
        return False
    if "StatusEquals" in request and record.get(status) != request["StatusEquals"]:
        return False
    for member in ("CreationTime", "LastModifiedTime"):
        moment = record.get(member, 0)
        if f"{member}After" in request and not moment > request[f"{member}After"].timestamp():
            return False
        if f"{member}Before" in request and not moment < request[f"{member}Before"].timestamp():
            return False
    return True


def refuse_others(request: Mapping[str, Any], supported: Collection[str], where: str = "") -> None:
    """What this machine cannot do is said, never ignored. Raises ValidationException."""
    for member, value in request.items():
        if member not in supported and value not in (None, False, [], {}):
            raise refusal(
                f"The local SageMaker does not support {where}{member}: use the target aws for it.",
            )


def not_found(kind: str, name: str) -> AwsError:
    """What AWS answers, though its documentation promises ResourceNotFound: tools match on code and message.

    https://github.com/aws-controllers-k8s/sagemaker-controller/blob/main/generator.yaml
    """
    if kind == "training job":
        return refusal("Requested resource not found.")
    if kind == "tuning job":
        message = f"Amazon SageMaker can't find a tuning job with the name {name}. Requested resource not found."
        return AwsError("ResourceNotFound", message)
    return refusal(f'Could not find {kind} "{name}".')
