"""Models, endpoint configs, endpoints: find, list the project's, update, delete. Training jobs are in jobs.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.jobs import PAGE, belongs, is_missing

if TYPE_CHECKING:
    from dogbreed_cli.session import Session

# Kind -> the word in boto3's method names, and in the members of its answers.
KINDS = {
    "endpoint": ("endpoint", "Endpoint"),
    "endpoint-config": ("endpoint_config", "EndpointConfig"),
    "model": ("model", "Model"),
}
# Of an endpoint that is neither up nor down. AWS refuses to update, and to delete, one that moves.
MOVING = ("Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting")
DELETE_SECONDS = 600


def find(client: Any, kind: str, name: str) -> dict[str, Any] | None:
    """The description, or None where there is no such thing."""
    from botocore.exceptions import ClientError

    method, member = KINDS[kind]
    try:
        return getattr(client, f"describe_{method}")(**{f"{member}Name": name})
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def list_all(client: Any, kind: str, project: str) -> Iterator[dict[str, Any]]:
    """Summaries of everything of the kind that carries the project's tag, whatever its name."""
    method, member = KINDS[kind]
    for page in client.get_paginator(f"list_{method}s").paginate(PaginationConfig=PAGE):
        for summary in page[f"{member}s"]:
            if belongs(client, summary[f"{member}Arn"], project):
                yield summary


def is_used(client: Any, kind: str, name: str, project: str) -> bool:
    """Whether an endpoint of the project has this config, or an endpoint config of it this model."""
    if kind == "endpoint-config":
        return any(
            name in (found["EndpointConfigName"], coming_config(found))
            for found in describe_all(client, "endpoint", project)
        )
    configs = describe_all(client, "endpoint-config", project) if kind == "model" else iter(())
    return any(variant["ModelName"] == name for found in configs for variant in found["ProductionVariants"])


def coming_config(endpoint: dict[str, Any]) -> str:
    """The config that an update is giving the endpoint, or else the one that it has."""
    return endpoint.get("PendingDeploymentSummary", endpoint)["EndpointConfigName"]


def describe_all(client: Any, kind: str, project: str) -> Iterator[dict[str, Any]]:
    for summary in list_all(client, kind, project):
        if found := find(client, kind, summary[f"{KINDS[kind][1]}Name"]):
            yield found


def update_endpoint(client: Any, name: str, config_name: str, keep_count: bool = False) -> None:
    """Begin it; that it has begun already is no error, where a lost answer was asked for again.

    `keep_count`: with as many instances as it has scaled to, instead of those of the config.
    """
    from botocore.exceptions import ClientError

    try:
        client.update_endpoint(
            EndpointName=name,
            EndpointConfigName=config_name,
            **({"RetainAllVariantProperties": True} if keep_count else {}),
        )
    except ClientError:
        found = find(client, "endpoint", name)
        if not found or coming_config(found) != config_name:
            raise


@contextmanager
def if_allowed(session: Session, what: str) -> Iterator[None]:
    """For what only some use: the caller who may not even look goes on without it, and is told with -v."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if "AccessDenied" not in error.response["Error"]["Code"]:
            raise
        session.console.detail(f"{what} are left as they are: {error}")


def explain_absence(session: Session, endpoint: str, error: NotFound) -> NotFound:
    """To who invokes it AWS says `not found` also of an endpoint that is still being made, or that has failed."""
    with if_allowed(session, "the endpoints"):
        if found := find(session.client("sagemaker"), "endpoint", endpoint):
            status, again = found["EndpointStatus"], "ask again when `dogbreed status` says InService"
            fix = again if status in MOVING else f"run `dogbreed deploy --name {endpoint}`"
            return NotFound(f"endpoint {endpoint} is {status}", found.get("FailureReason", ""), fix)
    return error


def delete(client: Any, kind: str, name: str, poll_seconds: float = 1) -> None:
    """Delete, and for an endpoint wait until it is gone. What is not there is deleted already."""
    end = time.monotonic() + DELETE_SECONDS
    while not ask_to_delete(client, kind, name) or (kind == "endpoint" and find(client, kind, name)):
        if time.monotonic() > end:
            raise DogbreedError(f"{kind} {name} is still there after {DELETE_SECONDS} s", fix="run the command again")
        time.sleep(poll_seconds)


def ask_to_delete(client: Any, kind: str, name: str) -> bool:
    """False where AWS refuses because the endpoint is moving: it has to be asked again."""
    from botocore.exceptions import ClientError

    method, member = KINDS[kind]
    try:
        getattr(client, f"delete_{method}")(**{f"{member}Name": name})
    except ClientError as error:
        if is_missing(error):
            return True
        found = find(client, kind, name)
        if found and found.get("EndpointStatus") not in MOVING:
            raise
        return found is None
    return True
