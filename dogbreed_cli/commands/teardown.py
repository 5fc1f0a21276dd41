"""dogbreed teardown: end and remove everything that can cost money, after showing it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import autoscaling, expiry, jobs, resources
from dogbreed_cli.console import human_size, table
from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.requests import endpoint_name
from dogbreed_cli.storage import delete_prefix, list_objects

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session

STOP_SECONDS = 300


@dataclass(frozen=True)
class Item:
    """One thing to remove. `note` says what a person wants to know before they agree."""

    kind: str
    name: str
    note: str = ""


@click.command(
    epilog="""\b
Examples:
  dogbreed teardown                  # shows what it found and asks
  dogbreed teardown --dry-run
  dogbreed teardown --yes --data --logs"""
)
@click.option("--data", is_flag=True, help="Also the images, the models and the outputs in S3.")
@click.option("--logs", is_flag=True, help="Also the endpoints' log groups.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.pass_obj
def teardown(app: App, data: bool, logs: bool, yes: bool, dry_run: bool) -> None:
    """Remove endpoints and models, stop running jobs.

    Shows first what it found: endpoints, endpoint configs, models and running jobs, on demand also what lies in S3.
    Only what carries the project's tag is touched. Running it again is safe.
    """
    config = app.config()
    session = app.session(config)
    found = plan(config, session, data, logs)
    if not data and (kept := stored(config, session)):
        app.console.note(f"{kept.name} stays ({kept.note}): --data removes it")
    if not found:
        nothing = f"nothing of project {config.project.name} is there to remove"
        app.console.result({"planned": [], "removed": []}, nothing)
        return
    shown = table(["kind", "name", "note"], [[item.kind, item.name, item.note] for item in found])
    if dry_run:
        app.console.result({"planned": found, "removed": []}, shown)
        return
    app.console.show(shown)
    app.console.confirm(f"Remove these {len(found)}?", yes)
    for item in found:
        app.console.note(f"removing {item.kind} {item.name}")
        remove(config, session, item)
    if left := plan(config, session, data, logs):
        names = ", ".join(f"{item.kind} {item.name}" for item in left)
        raise DogbreedError(f"{len(left)} are still there: {names}", fix="run `dogbreed teardown` again")
    app.console.result({"planned": found, "removed": found}, f"removed {len(found)}; none of it is left")


def plan(config: Config, session: Session, data: bool, logs: bool) -> list[Item]:
    """What is there, in the order in which it has to go: what uses a thing before the thing."""
    client, project = session.client("sagemaker"), config.project.name
    tunings = jobs.list_running_tuning_jobs(client, project)
    found = [Item("tuning job", job["HyperParameterTuningJobName"], "running") for job in tunings]
    trainings = jobs.list_running_training_jobs(client, project)
    found += [Item("training job", job["TrainingJobName"], "running") for job in trainings]
    endpoints = list(resources.list_all(client, "endpoint", project))
    for name, status in ((one["EndpointName"], one["EndpointStatus"]) for one in endpoints):
        if ends_at := expiry.find_end(session, name):
            found.append(Item("schedule", name, f"ends the endpoint at {ends_at.astimezone():%Y-%m-%d %H:%M}"))
        found.append(Item("endpoint", name, status))
    found += [
        Item("endpoint-config", c["EndpointConfigName"]) for c in resources.list_all(client, "endpoint-config", project)
    ]
    found += [Item("model", m["ModelName"]) for m in resources.list_all(client, "model", project)]
    if logs:
        found += [
            Item("log group", group)
            for name in sorted({endpoint_name(config), *(endpoint["EndpointName"] for endpoint in endpoints)})
            if has_log_group(session.client("logs"), group := jobs.endpoint_logs(name))
        ]
    if data and (item := stored(config, session)):
        found.append(item)
    return found


def has_log_group(logs: Any, name: str) -> bool:
    """Groups carry no tag of ours, and those of project dog-x begin as those of project dog do: so by whole names."""
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    return any(group["logGroupName"] == name for page in pages for group in page["logGroups"])


def stored(config: Config, session: Session) -> Item | None:
    from botocore.exceptions import ClientError

    try:
        sizes = [found.size for found in list_objects(session.client("s3"), session.bucket, f"{config.prefix}/")]
    except (DogbreedError, ClientError) as error:
        if "NoSuchBucket" in str(error.__cause__ or error):
            return None
        raise
    note = f"{len(sizes)} objects, {human_size(sum(sizes))}: images, models, outputs"
    return Item("S3 prefix", f"s3://{session.bucket}/{config.prefix}/", note) if sizes else None


def remove(config: Config, session: Session, item: Item) -> None:
    client = session.client("sagemaker")
    if item.kind == "tuning job":
        stop(session, item.name, "HyperParameterTuningJobStatus", jobs.describe_tuning_job,
             lambda: client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=item.name))  # fmt: skip
    elif item.kind == "training job":
        stop(session, item.name, "TrainingJobStatus", jobs.describe_training_job,
             lambda: client.stop_training_job(TrainingJobName=item.name))  # fmt: skip
    elif item.kind == "log group":
        session.client("logs").delete_log_group(logGroupName=item.name)
    elif item.kind == "S3 prefix":
        delete_prefix(session.client("s3"), session.bucket, f"{config.prefix}/")
    elif item.kind == "schedule":
        expiry.remove_end(session, item.name)
    else:
        if item.kind == "endpoint":
            autoscaling.stop_scaling(session, item.name)
        resources.delete(client, item.kind, item.name, session.poll_seconds)


def stop(session: Session, name: str, status: str, describe: Any, ask: Any) -> None:
    """Stop a job and wait until it has stopped; one that ended, or was deleted, meanwhile has."""
    from botocore.exceptions import ClientError

    def read_status() -> str:
        try:
            return describe(session.client("sagemaker"), name)[status]
        except NotFound:
            return "Stopped"

    try:
        ask()
    except ClientError:
        if read_status() == "InProgress":  # else somebody has asked already
            raise
    end = time.monotonic() + STOP_SECONDS
    while read_status() not in jobs.ENDED:
        if time.monotonic() > end:
            raise DogbreedError(f"{name} has not stopped after {STOP_SECONDS} s", fix="run `dogbreed teardown` again")
        time.sleep(session.poll_seconds)
