"""Models, endpoint configs and endpoints: find, list what is the project's, delete. Training jobs are in jobs.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.jobs import belongs, is_missing

# Kind -> the word in boto3's method names, and in the members of its answers.
KINDS = {
    "endpoint": ("endpoint", "Endpoint"),
    "endpoint-config": ("endpoint_config", "EndpointConfig"),
    "model": ("model", "Model"),
}
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
    for page in client.get_paginator(f"list_{method}s").paginate():
        for summary in page[f"{member}s"]:
            if belongs(client, summary[f"{member}Arn"], project):
                yield summary


def delete(client: Any, kind: str, name: str, poll_seconds: float = 1) -> None:
    """Delete, and for an endpoint wait until it is gone. What is not there is deleted already."""
    from botocore.exceptions import ClientError

    method, member = KINDS[kind]
    try:
        getattr(client, f"delete_{method}")(**{f"{member}Name": name})
    except ClientError as error:
        if not is_missing(error):
            raise
    end = time.monotonic() + DELETE_SECONDS
    while kind == "endpoint" and find(client, kind, name):
        if time.monotonic() > end:
            raise DogbreedError(f"endpoint {name} is still being deleted after {DELETE_SECONDS} s")
        time.sleep(poll_seconds)
