"""Bringing up an endpoint: what is missing is created, one that is there is updated, and what fails is undone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dogbreed_cli import answers, autoscaling, endpoint_requests, expiry, jobs, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.errors import DogbreedError, Interrupted, JobFailed, WaitTimedOut
from dogbreed_cli.waiting import Patience, detachable

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.pictures import Picture
    from dogbreed_cli.requests import Site
    from dogbreed_cli.session import Session

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
    with removed_on_failure(session, project) as made:
        create_missing(session, "model", wanted.model, made)
        create_missing(session, "endpoint-config", wanted.endpoint_config, made)
        if before:
            autoscaling.stop_scaling(session, wanted.name)
            resources.update_endpoint(client, wanted.name, wanted.config_name)
        else:
            expiry.remove_end(session, wanted.name)  # of an endpoint that had this name
            if terms.ends_at:  # first: an endpoint that nobody waits for must not outlive it
                made.append(("schedule", wanted.name))
                expiry.set_end(session, wanted.name, terms.ends_at)
            create_missing(session, "endpoint", wanted.endpoint, made)
        with detachable(terms.again):
            described = require_there(wanted.name, follow(app, session, wanted.name, terms.wait, terms.patience))
        if terms.wait:
            require_served(app, session, described, wanted.config_name)
            with rolled_back(app, session, wanted.name, before):
                try_out(app, session, wanted.name, terms.picture)
    if terms.wait and before:
        remove_replaced(session, project, before["EndpointConfigName"])
    return described


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
        if not wait and resources.coming_config(found) == wanted.config_name:
            return found
        if not wait:
            raise DogbreedError(f"endpoint {name} is {found['EndpointStatus']}", fix="leave out --no-wait")
        app.console.note(f"endpoint {name} is {found['EndpointStatus']}: that has to end first")
        found = follow(app, session, name, wait, patience)
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
    lines = list(jobs.read_log(session.client("logs"), "", {}, jobs.endpoint_logs(name)))
    for line in lines[-LOG_LINES:]:
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


@contextmanager
def rolled_back(app: App, session: Session, name: str, before: dict[str, Any] | None) -> Iterator[None]:
    """An endpoint that was updated, and then does not answer as it has to, gets its former model back."""
    try:
        yield
    except DogbreedError:
        if before:
            app.console.note(f"back to {before['EndpointConfigName']}")
            resources.update_endpoint(session.client("sagemaker"), name, before["EndpointConfigName"])
            follow(app, session, name, True, Patience(None))
        raise


Made = list[tuple[str, str]]


@contextmanager
def removed_on_failure(session: Session, project: str) -> Iterator[Made]:
    """Yields a list for (kind, name) of what was created; all of it is removed again when the deploy fails."""
    made: Made = []
    try:
        yield made
    except (WaitTimedOut, Interrupted):
        raise  # The endpoint goes on; nothing has failed.
    except BaseException:  # Ctrl-C too, where it comes before there is an endpoint to wait for
        remove_unused(session, project, made)
        raise


def create_missing(session: Session, kind: str, request: dict[str, Any], made: Made) -> None:
    """Create it unless it is there: another deploy may be doing the same."""
    from botocore.exceptions import ClientError

    resource = resources.KINDS[kind][1]
    name = request[f"{resource}Name"]
    if resources.find(session.client("sagemaker"), kind, name):
        return
    made.append((kind, name))  # before it is there: Ctrl-C may come while the answer is on its way
    try:
        session.create(resource, request)
    except ClientError as error:
        made.pop()
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


def remove_unused(session: Session, project: str, things: Made) -> None:
    """Remove from the last to the first what no other endpoint and no other endpoint config of the project needs."""
    client = session.client("sagemaker")
    for kind, name in reversed(things):
        if kind == "schedule":
            expiry.remove_end(session, name)
        elif not resources.is_used(client, kind, name, project):
            resources.delete(client, kind, name)
