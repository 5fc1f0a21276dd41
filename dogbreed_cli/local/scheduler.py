"""EventBridge Scheduler, as far as an endpoint's end needs it: schedules that delete an endpoint at a time, in UTC.

Nothing of its own runs here: the endpoint's worker looks (serving.py), and ends itself.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dogbreed_cli.local.errors import AwsError, refusal
from dogbreed_cli.local.home import ACCOUNT, REGION, Home
from dogbreed_cli.local.records import Record, Records

SCHEDULE, GROUP = "schedule", "default"
TARGET = "arn:aws:scheduler:::aws-sdk:sagemaker:deleteEndpoint"
SUPPORTED = {"Name", "GroupName", "ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow",
             "ActionAfterCompletion", "Target", "Description", "State", "ClientToken"}  # fmt: skip
OWN = ("At", "Endpoint")  # members that AWS's answer has not


class Scheduler:
    def __init__(self, home: Home):
        self.records = Records(home.records)

    def create_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        record = read_request(request)
        try:
            self.records.create(SCHEDULE, request["Name"], record)
        except FileExistsError:
            message = f"Schedule {request['Name']} already exists."
            raise AwsError("ConflictException", message, 409) from None
        return {"ScheduleArn": record["Arn"]}

    def update_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        record = read_request(request)

        def replace(former: Record) -> None:
            created = former["CreationDate"]
            former.clear()
            former.update(record, CreationDate=created)

        if self.records.update(SCHEDULE, request["Name"], replace) is None:
            raise missing(request)
        return {"ScheduleArn": record["Arn"]}

    def get_schedule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        record = self.records.read(SCHEDULE, request["Name"])
        if record is None:
            raise missing(request)
        return {member: value for member, value in record.items() if member not in OWN}

    def delete_schedule(self, request: Mapping[str, Any]) -> None:
        try:
            self.records.delete(SCHEDULE, request["Name"])
        except FileNotFoundError:
            raise missing(request) from None


def read_request(request: Mapping[str, Any]) -> Record:
    """The record. Raises ValidationException for what this machine cannot do, and for what AWS would refuse."""
    if others := sorted(request.keys() - SUPPORTED):
        raise refusal(f"The local EventBridge Scheduler does not support {others[0]}: use the target aws for it.")
    if request["Target"]["Arn"] != TARGET:
        raise refusal(f"The local EventBridge Scheduler knows one target: {TARGET}.")
    if request.get("ScheduleExpressionTimezone", "UTC") != "UTC" or request.get("State", "ENABLED") != "ENABLED":
        raise refusal("The local EventBridge Scheduler takes the time zone UTC and the state ENABLED only.")
    if request.get("GroupName", GROUP) != GROUP:
        raise refusal("The local EventBridge Scheduler has one group: default.")
    now = time.time()
    return {
        **{member: value for member, value in request.items() if member != "ClientToken"},
        "Arn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{GROUP}/{request['Name']}",
        "GroupName": GROUP,
        "State": "ENABLED",
        "CreationDate": now,
        "LastModificationDate": now,
        "At": read_time(request["ScheduleExpression"]),
        "Endpoint": read_endpoint(request["Target"].get("Input", "")),
    }


def read_time(expression: str) -> float:
    found = re.fullmatch(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)", expression)
    try:
        return datetime.fromisoformat(found[1] if found else "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise refusal(f"Invalid Schedule Expression {expression}: only at(yyyy-mm-ddThh:mm:ss) here.") from None


def read_endpoint(text: str) -> str:
    try:
        return str(json.loads(text)["EndpointName"])
    except (ValueError, TypeError, KeyError):
        raise refusal("The Input of deleteEndpoint is a JSON object with EndpointName.") from None


def end_if_due(records: Records, endpoint: str, end: str) -> None:
    """Delete, as the schedule says, the endpoint (a record of the kind `end`) whose time has come, and the schedule."""
    for schedule in records.all(SCHEDULE):
        if schedule["Endpoint"] == endpoint and schedule["At"] <= time.time():
            records.update(end, endpoint, mark_deleting)
            with contextlib.suppress(FileNotFoundError):
                records.delete(SCHEDULE, schedule["Name"])


def mark_deleting(record: Record) -> None:
    record.update(EndpointStatus="Deleting", LastModifiedTime=time.time())


def missing(request: Mapping[str, Any]) -> AwsError:
    message = f"Schedule {request['Name']} does not exist."
    return AwsError("ResourceNotFoundException", message, 404)
