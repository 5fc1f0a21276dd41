"""An endpoint that ends itself: a schedule, called like the endpoint, that deletes it at a time.

On AWS that is EventBridge Scheduler, which deletes it under a role of its own whatever has become of this machine. Who
never says --expires needs no permission for it: to them there is no schedule.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dogbreed_cli import endpoint_requests
from dogbreed_cli.resources import if_allowed

if TYPE_CHECKING:
    from dogbreed_cli.session import Session

EXPRESSION = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")


def set_end(session: Session, name: str, at: datetime) -> None:
    """In place of an earlier one. Raises ClientError, and UsageError where there is no role for it."""
    client, request = session.client("scheduler"), endpoint_requests.end(session.expiry_role_arn, name, at)
    try:
        client.create_schedule(**request)
    except client.exceptions.ConflictException:
        client.update_schedule(**request)


def change_end(session: Session, name: str, at: datetime | None) -> None:
    """To that time, or to none. Raises as set_end."""
    if at:
        set_end(session, name, at)
    else:
        remove_end(session, name)


def find_end(session: Session, name: str) -> datetime | None:
    """None where no schedule of ours has that name. Raises ClientError."""
    client = session.client("scheduler")
    with if_allowed(session, "the schedules"):
        try:
            found = client.get_schedule(Name=name)
        except client.exceptions.ResourceNotFoundException:
            return None
        written = EXPRESSION.fullmatch(found.get("ScheduleExpression", ""))
        return datetime.fromisoformat(written[1]).replace(tzinfo=UTC) if written else None
    return None


def remove_end(session: Session, name: str) -> None:
    """What is not there is removed already. Raises ClientError."""
    client = session.client("scheduler")
    with if_allowed(session, "the schedules"):
        try:
            client.get_schedule(Name=name)  # most have none: nothing is sent that changes anything
            client.delete_schedule(Name=name)
        except client.exceptions.ResourceNotFoundException:
            return
