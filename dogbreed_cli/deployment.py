"""Bringing up an endpoint: what is missing is created, one that is there is updated, and what fails is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from dogbreed_cli import answers, autoscaling, aws_errors, endpoint_requests, expiry, jobs, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.errors import DogbreedError, JobFailed, WaitTimedOut
from dogbreed_cli.waiting import Patience, detachable

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.pictures import Picture
    from dogbreed_cli.requests import Site
    from dogbreed_cli.session import Session

Undo = list[Callable[[], object]]

LOG_LINES = 20
# What happens meanwhile, for who waits minutes for it on AWS.
STAGES = {
    "Creating": "the server starts, loads the model and has to answer",
    "Updating": "the old model serves until the new one answers",
    "RollingBack": "the new one did not answer; the old one serves on",
}


@dataclass(frozen=True)
class Wanted:
    """The three requests of a deployment."""

    model: dict[str, Any]
    endpoint_config: dict[str, Any]
    endpoint: dict[str, Any]

    @property
    def name(self) -> str:
        return self.endpoint["EndpointName"]

    @property
    def config_name(self) -> str:
        return self.endpoint_config["EndpointConfigName"]


@dataclass(frozen=True)
class Terms:
    """How it is waited for, until when it is wanted, and what it has to answer before it is called ready."""

    again: str  # the command that goes on with it
    wait: bool
    patience: Patience
    ends_at: datetime | None
    picture: Picture | None


def build(config: Config, site: Site, job: str, name: str, artifact: str) -> Wanted:
    model = endpoint_requests.model(config, site, job, artifact)
    endpoint_config = endpoint_requests.endpoint_config(config, site, job, model["ModelName"])
    return Wanted(
        model, endpoint_config, endpoint_requests.endpoint(config, name, endpoint_config["EndpointConfigName"])
    )


def bring_up(
    app: App, session: Session, config: Config, wanted: Wanted, before: dict[str, Any] | None, terms: Terms
) -> dict[str, Any]:
    """Create what is missing, then create the endpoint, or update the one `before` in place. Its description."""
    client, project = session.client("sagemaker"), config.project.name
    if before and before["EndpointStatus"] == "Failed":
        app.console.note(f"endpoint {wanted.name} had failed ({before.get('FailureReason', '')}): making it anew")
        resources.delete(client, "endpoint", wanted.name, session.poll_seconds)
        before = None
    with undone_on_failure(app) as undo:
        create_missing(session, project, "model", wanted.model, undo)
        create_missing(session, project, "endpoint-config", wanted.endpoint_config, undo)
        set_end(session, wanted.name, before, terms.ends_at, undo)
        if before:
            update(session, wanted, before, undo)
        else:
            create_missing(session, project, "endpoint", wanted.endpoint, undo)
        with detachable(terms.again):
            described = require_there(wanted.name, follow(app, session, wanted.name, terms.wait, terms.patience))
        if terms.wait:
            require_served(app, session, described, wanted.config_name)
            if before:
                undo.append(partial(go_back, app, session, wanted.name, before["EndpointConfigName"]))
            try_out(app, session, wanted.name, terms.picture)
    if terms.wait and before:
        remove_replaced(session, project, before["EndpointConfigName"])
    return described


def set_end(session: Session, name: str, before: dict[str, Any] | None, ends_at: datetime | None, undo: Undo) -> None:
    """Before it is made or updated: an endpoint that nobody waits for must not outlive it."""
    if not before:
        expiry.remove_end(session, name)  # of an endpoint that had this name
    if ends_at:
        undo.append(partial(expiry.change_end, session, name, expiry.find_end(session, name)))
        expiry.set_end(session, name, ends_at)


def update(session: Session, wanted: Wanted, before: dict[str, Any], undo: Undo) -> None:
    """In place. AWS takes another model for an endpoint that scales, but no other instance type: its scaling ends
    before, and is what it was after a failure."""
    client, scaling = session.client("sagemaker"), autoscaling.find_scaling(session, wanted.name)
    former = resources.find(client, "endpoint-config", before["EndpointConfigName"]) if scaling else None
    is_kept = former is not None and instance_type(former) == instance_type(wanted.endpoint_config)
    if scaling and not is_kept:
        undo.append(partial(autoscaling.start_scaling, session, scaling))
        autoscaling.stop_scaling(session, wanted.name)
    resources.update_endpoint(client, wanted.name, wanted.config_name, keep_count=is_kept)


def instance_type(endpoint_config: dict[str, Any]) -> str | None:
    return endpoint_config["ProductionVariants"][0].get("InstanceType")


def settle(
    app: App, session: Session, config: Config, wanted: Wanted, wait: bool, patience: Patience
) -> dict[str, Any] | None:
    """The endpoint when nothing moves it any more; None where there is none.

    Another deploy, or this one before Ctrl-C, may be at work: AWS takes no second change before the first is done.
    """
    client, name = session.client("sagemaker"), wanted.name
    found = resources.find(client, "endpoint", name)
    if found and not jobs.belongs(client, found["EndpointArn"], config.project.name):
        raise DogbreedError(f"endpoint {name} is not of project {config.project.name}", fix="choose another --name")
    if found and found["EndpointStatus"] in resources.MOVING:
        if not wait and found["EndpointStatus"] != "Deleting" and resources.coming_config(found) == wanted.config_name:
            return found
        if not wait:
            raise DogbreedError(f"endpoint {name} is {found['EndpointStatus']}", fix="leave out --no-wait")
        app.console.note(f"endpoint {name} is {found['EndpointStatus']}: that has to end first")
        found = follow(app, session, name, wait, patience)
    if found and found["EndpointStatus"] not in ("InService", "Failed"):  # OutOfService, UpdateRollbackFailed
        what, why = f"endpoint {name} is {found['EndpointStatus']}", found.get("FailureReason", "")
        raise DogbreedError(what, why, "choose another --name, or run `dogbreed teardown` first")
    return found


def follow(app: App, session: Session, name: str, wait: bool, patience: Patience) -> dict[str, Any] | None:
    """Stages until the endpoint moves no more. None when it is gone."""
    client, started, told = session.client("sagemaker"), time.monotonic(), ""
    with app.console.live() as redraw:
        while described := resources.find(client, "endpoint", name):
            took = human_time(time.monotonic() - started)
            if described["EndpointStatus"] != told:
                told = described["EndpointStatus"]
                app.console.note(f"[{took}] {told}" + (f": {STAGES[told]}" if told in STAGES else ""))
            if not wait or told not in resources.MOVING:
                return described
            if patience.is_over:
                raise WaitTimedOut(f"endpoint {name} is still {told} after {patience.seconds:g} s", "it goes on")
            redraw(f"{told} for {took}")
            time.sleep(session.poll_seconds)
    return None


def require_there(name: str, described: dict[str, Any] | None) -> dict[str, Any]:
    if described is None:
        raise DogbreedError(f"endpoint {name} was deleted meanwhile", "a teardown, or a deploy that failed",
                            "run `dogbreed deploy` again")  # fmt: skip
    return described


def require_served(app: App, session: Session, described: dict[str, Any], wanted: str) -> None:
    """Raises JobFailed unless the endpoint is InService with the wanted config. Its log's end is shown first."""
    if described["EndpointStatus"] == "InService" and described["EndpointConfigName"] == wanted:
        return
    name = described["EndpointName"]
    show_log(app, session, name)
    still = described["EndpointConfigName"] if described["EndpointStatus"] == "InService" else ""
    reason = described.get("FailureReason", "another deploy came in between" if still else "no reason was given")
    what = f"endpoint {name} serves {still}, not {wanted}" if still else f"endpoint {name} did not come up"
    raise jobs.failed(what, reason, "the end of its log is above; what this deploy made was removed")


def show_log(app: App, session: Session, name: str) -> None:
    """The end of it, of the instance that was started last: the one that the deploy is about."""
    try:
        lines = jobs.read_end(session.client("logs"), jobs.endpoint_logs(name), LOG_LINES)
    except Exception as error:  # why the deploy failed matters more
        lines = [f"the endpoint's log cannot be read: {aws_errors.explain(error) or error}"]
    for line in lines:
        app.console.note(f"  {line}")


def try_out(app: App, session: Session, name: str, picture: Picture | None) -> None:
    """One request, as `predict` sends it. Raises JobFailed where the endpoint has no answer to it."""
    if picture is None:
        return
    answer = answers.ask(session.client("sagemaker-runtime"), name, picture, 1)
    if answer.error:
        show_log(app, session, name)
        what = f"endpoint {name} did not classify {picture.name}"
        raise JobFailed(what, answer.error, "the end of its log is above")
    best = answer.predictions[0]
    app.console.note(f"{picture.name}: {best['label']} {best['probability']:.1%}, after {answer.milliseconds:.0f} ms")


def go_back(app: App, session: Session, name: str, config_name: str) -> None:
    """An endpoint that was updated, and then did not answer as it has to, gets its former model back."""
    app.console.note(f"back to {config_name}")
    keep_count = autoscaling.find_scaling(session, name) is not None
    resources.update_endpoint(session.client("sagemaker"), name, config_name, keep_count)
    follow(app, session, name, True, Patience(None))


@contextmanager
def undone_on_failure(app: App) -> Iterator[Undo]:
    """Yields a list of what to do when the deploy fails, the last first."""
    undo: Undo = []
    try:
        yield undo
    except BaseException as error:  # Ctrl-C too, where it comes before there is an endpoint to wait for
        if not getattr(error, "goes_on", False):
            for step in reversed(undo):
                take(app, step)
        raise


def take(app: App, step: Callable[[], object]) -> None:
    """What goes wrong now must not hide what went wrong before, nor keep the other steps from being taken."""
    try:
        step()
    except Exception as error:
        reason = aws_errors.explain(error) or error
        app.console.warn(f"not everything could be undone: {reason} `dogbreed status` shows what is left.")


def create_missing(session: Session, project: str, kind: str, request: dict[str, Any], undo: Undo) -> None:
    """Create it unless it is there: another deploy may be doing the same."""
    from botocore.exceptions import ClientError

    resource = resources.KINDS[kind][1]
    name = request[f"{resource}Name"]
    if resources.find(session.client("sagemaker"), kind, name):
        return
    undo.append(partial(remove_unused, session, project, [(kind, name)]))  # Ctrl-C may come before the answer
    try:
        session.create(resource, request)
    except ClientError as error:
        undo.pop()
        if "already existing" not in error.response["Error"].get("Message", ""):
            raise


def remove_replaced(session: Session, project: str, endpoint_config: str) -> None:
    """The former endpoint config and its models; only what is this project's, and what nothing uses now."""
    client = session.client("sagemaker")
    described = resources.find(client, "endpoint-config", endpoint_config)
    if not described or not jobs.belongs(client, described["EndpointConfigArn"], project):
        return
    models = [resources.find(client, "model", variant["ModelName"]) for variant in described["ProductionVariants"]]
    ours = [("model", one["ModelName"]) for one in models if one and jobs.belongs(client, one["ModelArn"], project)]
    remove_unused(session, project, [*ours, ("endpoint-config", endpoint_config)])


def remove_unused(session: Session, project: str, things: list[tuple[str, str]]) -> None:
    """Remove from the last to the first what no other endpoint and no other endpoint config of the project needs."""
    client = session.client("sagemaker")
    for kind, name in reversed(things):
        if not resources.is_used(client, kind, name, project):
            resources.delete(client, kind, name)
