"""dogbreed teardown: end and remove everything that can cost money, after showing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import autoscaling, aws_errors, expiry, jobs, resources
from dogbreed_cli.console import human_size, table
from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.pricing import PriceList, open_prices
from dogbreed_cli.requests import endpoint_name
from dogbreed_cli.spending import measure_warm_pool
from dogbreed_cli.storage import delete_prefix, list_objects

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.console import Console
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session

STOP_SECONDS = 300
# What is asked to stop, and takes its time.
STOPPED = ("tuning job", "training job", "warm pool")
RUNNING = (*jobs.RUNNING, "Available")


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
    """Remove endpoints and models, stop running jobs, end warm pools.

    Shows first what it found: endpoints, endpoint configs, models, running jobs and warm pools, on demand also what
    lies in S3. Only what carries the project's tag is touched. Running it again is safe.
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
    failed = remove_all(app.console, config, session, found)
    if left := [*plan(config, session, data, logs), *failed]:
        raise remains(left, list(failed.values()))
    app.console.result({"planned": found, "removed": found}, f"removed {len(found)}; none of it is left")


def plan(config: Config, session: Session, data: bool, logs: bool) -> list[Item]:
    """What is there, in the order in which it has to go: what uses a thing before the thing."""
    client, project = session.client("sagemaker"), config.project.name
    tunings = jobs.list_running_tuning_jobs(client, project)
    found = [Item("tuning job", job["HyperParameterTuningJobName"], "running") for job in tunings]
    trainings = jobs.list_running_training_jobs(client, project)
    found += [Item("training job", job["TrainingJobName"], "running") for job in trainings]
    pools = [job["TrainingJobName"] for job in jobs.list_warm_pools(client, project)]
    prices = open_prices(session) if pools else None
    found += [Item("warm pool", name, say_cost(prices, name)) for name in pools]
    endpoints = list(resources.list_all(client, "endpoint", project))
    for name, status in ((one["EndpointName"], one["EndpointStatus"]) for one in endpoints):
        found.append(Item("endpoint", name, status))
        if ends_at := expiry.find_end(session, name):
            found.append(Item("schedule", name, f"ends the endpoint at {ends_at.astimezone():%Y-%m-%d %H:%M}"))
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


def say_cost(prices: PriceList | None, warm_pool: str) -> str:
    """As `status` has it."""
    usd = measure_warm_pool(prices, warm_pool).usd_per_hour if prices else None
    return "instances are kept" if usd is None else f"instances are kept, for {usd:.4f} USD an hour"


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


def remove_all(console: Console, config: Config, session: Session, found: list[Item]) -> dict[Item, DogbreedError]:
    """Remove the one whatever becomes of the other; what could not be removed, and why.

    Jobs are asked to stop first and waited for last: what bills meanwhile is gone by then. Only what lies in S3 is
    removed after them, since a job that stops still writes there.
    """
    failed: dict[Item, DogbreedError] = {}

    def attempt(doing: str, act: Callable[[Item], None], items: list[Item]) -> None:
        for item in items:
            if item in failed or is_needed(item, failed):
                continue
            console.note(f"{doing} {item.kind} {item.name}")
            try:
                act(item)
            except Exception as error:
                known = error if isinstance(error, DogbreedError) else aws_errors.explain(error)
                if not known:
                    raise
                console.note(f"{item.kind} {item.name}: {known.line}")
                failed[item] = known

    running = [item for item in found if item.kind in STOPPED]
    stored_found = [item for item in found if item.kind == "S3 prefix"]
    others = [item for item in found if item not in running + stored_found]
    attempt("stopping", lambda item: ask_to_stop(session, item), running)
    attempt("removing", lambda item: remove(config, session, item), others)
    end = time.monotonic() + STOP_SECONDS
    attempt("waiting for", lambda item: wait_until_stopped(session, item, end), running)
    attempt("removing", lambda item: remove(config, session, item), stored_found)
    return failed


def is_needed(item: Item, failed: Iterable[Item]) -> bool:
    """Whether an endpoint that is still there may need it: its end, and AWS says not to delete the config of one."""
    return item.kind in ("schedule", "endpoint-config", "model") and any(other.kind == "endpoint" for other in failed)


def remains(left: Iterable[Item], errors: list[DogbreedError]) -> DogbreedError:
    """The error of a teardown that did not remove all. Its exit code is the errors' own, where they have one."""
    names = list(dict.fromkeys(f"{item.kind} {item.name}" for item in left))
    whys = dict.fromkeys(f"{error.what} ({error.why})" if error.why else error.what for error in errors)
    again = "run `dogbreed teardown` again"
    fixes = dict.fromkeys([*(error.fix for error in errors if error.fix), again])
    found = DogbreedError(f"{len(names)} are still there: {', '.join(names)}", "; ".join(whys), "; ".join(fixes))
    codes = {error.exit_code for error in errors}
    found.exit_code = codes.pop() if len(codes) == 1 else DogbreedError.exit_code
    return found


def remove(config: Config, session: Session, item: Item) -> None:
    if item.kind == "log group":
        session.client("logs").delete_log_group(logGroupName=item.name)
    elif item.kind == "S3 prefix":
        delete_prefix(session.client("s3"), session.bucket, f"{config.prefix}/")
    elif item.kind == "schedule":
        expiry.remove_end(session, item.name)
    else:
        if item.kind == "endpoint":
            autoscaling.stop_scaling(session, item.name)
        resources.delete(session.client("sagemaker"), item.kind, item.name, session.poll_seconds)


def ask_to_stop(session: Session, item: Item) -> None:
    """One that ended, or was deleted, meanwhile has stopped."""
    from botocore.exceptions import ClientError

    client = session.client("sagemaker")
    try:
        if item.kind == "tuning job":
            client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=item.name)
        elif item.kind == "warm pool":
            # https://docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools-how-to-use.html
            client.update_training_job(TrainingJobName=item.name, ResourceConfig={"KeepAlivePeriodInSeconds": 0})
        else:
            client.stop_training_job(TrainingJobName=item.name)
    except ClientError:
        if read_status(client, item) in ("InProgress", "Available"):  # else somebody has asked already
            raise


def read_status(client: Any, item: Item) -> str:
    try:
        if item.kind == "tuning job":
            return jobs.describe_tuning_job(client, item.name)["HyperParameterTuningJobStatus"]
        found = jobs.describe_training_job(client, item.name)
        return found["WarmPoolStatus"]["Status"] if item.kind == "warm pool" else found["TrainingJobStatus"]
    except NotFound:
        return "Stopped"


def wait_until_stopped(session: Session, item: Item, end: float) -> None:
    """`end` is by time.monotonic()."""
    while read_status(session.client("sagemaker"), item) in RUNNING:
        if time.monotonic() > end:
            what = f"{item.name} has not stopped after {STOP_SECONDS} s"
            raise DogbreedError(what, fix="run `dogbreed teardown` again")
        time.sleep(session.poll_seconds)
