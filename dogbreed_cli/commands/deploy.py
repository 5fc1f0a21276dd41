"""dogbreed deploy: serve a trained model from an endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, requests, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.errors import DogbreedError, Interrupted, JobFailed, WaitTimedOut
from dogbreed_cli.waiting import command_line, detachable

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session


@click.command(
    epilog="""\b
Examples:
  dogbreed deploy                                        # the latest completed training job
  dogbreed deploy --job dogbreed-train-261122-194300     # that one: an endpoint that runs is updated in place
  dogbreed deploy --instance-type ml.g4dn.xlarge --no-wait"""
)
@click.option("--job", metavar="NAME", help="Training job (default: the latest completed one, never a trial).")
@click.option("--name", help="The endpoint's name (default: PROJECT-endpoint).")
@click.option("--instance-type", help="For example ml.m5.large; of no effect on this machine.")
@click.option("--wait/--no-wait", default=True, help="Wait until it answers (default), or return at once.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Stop waiting then; the endpoint goes on (exit 8).",
)
@click.option("--yes", is_flag=True, help="Do not ask before something starts that AWS charges for.")
@click.pass_obj
def deploy(
    app: App,
    job: str | None,
    name: str | None,
    instance_type: str | None,
    wait: bool,
    timeout: float | None,
    yes: bool,
) -> None:
    """Serve a trained model from an endpoint.

    Deploying the same job again changes nothing; deploying another job updates the endpoint, which goes on serving the
    old model until the new one answers. What a failed deploy made is removed again.
    """
    config = app.config(deploy={"instance_type": instance_type})
    options = ["--name", name] if name else []
    options += ["--instance-type", instance_type] if instance_type else []
    name = name or requests.endpoint_name(config)
    jobs.check_name(name, config.project.name)
    session = app.session(config)
    client = session.client("sagemaker")
    job = job or jobs.latest_training_job(client, config.project.name)
    again = command_line("deploy", "--job", job, *options)
    description = jobs.describe_training_job(client, job)
    jobs.require_completed("training job", job, description["TrainingJobStatus"], description.get("FailureReason"))
    site = requests.Site(session.bucket, session.role_arn, session.inference_image())
    model = requests.model(config, site, job, description["ModelArtifacts"]["S3ModelArtifacts"])
    endpoint_config = requests.endpoint_config(config, job)
    wanted = endpoint_config["EndpointConfigName"]
    session.prepare()
    with detachable(again):
        before = settle(app, session, config, name, wanted, wait, timeout)
    if before and before["EndpointConfigName"] == wanted:
        app.console.note(f"endpoint {name} has {job} already")
        described = before
    else:
        place = session.describe_place(config.deploy.instance_type)
        app.console.note(f"endpoint {name} on {place} with {job}: it runs until `dogbreed teardown`")
        session.confirm_charge(yes)
        with removed_on_failure(client, config.project.name) as made:
            create_missing(client, "model", model, made)
            create_missing(client, "endpoint-config", endpoint_config, made)
            if before:
                app.console.note("updating it in place: the old model serves until the new one answers")
                client.update_endpoint(EndpointName=name, EndpointConfigName=wanted)
            else:
                create_missing(client, "endpoint", requests.endpoint(config, name, wanted), made)
            with detachable(again):
                described = require_there(name, follow(app, session, name, wait, timeout))
            if wait:
                require_served(app, session, described, wanted)
        if wait and before:
            remove_replaced(client, config.project.name, before["EndpointConfigName"])
    data = {"endpoint": name, "status": described["EndpointStatus"], "training_job": job, "endpoint_config": wanted}
    app.console.result(data, f"{name} is {described['EndpointStatus']} with {job}")
    asked = "" if name == requests.endpoint_name(config) else f" --endpoint {name}"
    app.console.note(f"next: dogbreed predict IMAGE{asked}; dogbreed teardown ends it")


def settle(
    app: App, session: Session, config: Config, name: str, wanted: str, wait: bool, timeout: float | None
) -> dict[str, Any] | None:
    """The endpoint when nothing moves it any more; None where there is none. One that failed is removed.

    Another deploy, or this one before Ctrl-C, may be at work: AWS takes no second change before the first is done.
    """
    client = session.client("sagemaker")
    found = resources.find(client, "endpoint", name)
    if found and not jobs.belongs(client, found["EndpointArn"], config.project.name):
        raise DogbreedError(f"endpoint {name} is not of project {config.project.name}", fix="choose another --name")
    if found and found["EndpointStatus"] in resources.MOVING:
        if not wait and found["EndpointConfigName"] == wanted:
            return found
        if not wait:
            raise DogbreedError(f"endpoint {name} is {found['EndpointStatus']}", fix="leave out --no-wait")
        app.console.note(f"endpoint {name} is {found['EndpointStatus']}: that has to end first")
        found = follow(app, session, name, wait, timeout)
    if found and found["EndpointStatus"] == "Failed":
        app.console.note(f"endpoint {name} had failed ({found.get('FailureReason', 'no reason')}): making it anew")
        resources.delete(client, "endpoint", name, session.poll_seconds)
        return None
    return found


Made = list[tuple[str, str]]


@contextmanager
def removed_on_failure(client: Any, project: str) -> Iterator[Made]:
    """Yields a list for (kind, name) of what was created; all of it is removed again when the deploy fails."""
    made: Made = []
    try:
        yield made
    except (WaitTimedOut, Interrupted):
        raise  # The endpoint goes on; nothing has failed.
    except BaseException:  # Ctrl-C too, where it comes before there is an endpoint to wait for
        remove_unused(client, project, made)
        raise


def create_missing(client: Any, kind: str, request: dict[str, Any], made: Made) -> None:
    """Create it unless it is there: another deploy may be doing the same."""
    from botocore.exceptions import ClientError

    method, member = resources.KINDS[kind]
    name = request[f"{member}Name"]
    if resources.find(client, kind, name):
        return
    made.append((kind, name))  # before it is there: Ctrl-C may come while the answer is on its way
    try:
        getattr(client, f"create_{method}")(**request)
    except ClientError as error:
        made.pop()
        if "already existing" not in error.response["Error"].get("Message", ""):
            raise


def follow(app: App, session: Session, name: str, wait: bool, timeout: float | None) -> dict[str, Any] | None:
    """Stages until the endpoint moves no more. None when it is gone."""
    client, started, told = session.client("sagemaker"), time.monotonic(), ""
    while described := resources.find(client, "endpoint", name):
        if described["EndpointStatus"] != told:
            told = described["EndpointStatus"]
            app.console.note(f"[{human_time(time.monotonic() - started)}] {told}")
        if not wait or told not in resources.MOVING:
            return described
        if timeout is not None and time.monotonic() - started > timeout:
            raise WaitTimedOut(f"endpoint {name} is still {told} after {timeout:g} s", "it goes on")
        time.sleep(session.poll_seconds)
    return None


def require_there(name: str, described: dict[str, Any] | None) -> dict[str, Any]:
    if described is None:
        raise DogbreedError(f"endpoint {name} was deleted meanwhile", "a teardown, or a deploy that failed",
                            "run `dogbreed deploy` again")  # fmt: skip
    return described


def require_served(app: App, session: Session, described: dict[str, Any], wanted: str) -> None:
    """Raises JobFailed unless the endpoint is InService with the wanted config. Its log's end is shown first."""
    name = described["EndpointName"]
    if described["EndpointStatus"] == "InService" and described["EndpointConfigName"] == wanted:
        return
    lines = list(jobs.read_log(session.client("logs"), "", {}, jobs.endpoint_logs(name)))
    for line in lines[-20:]:
        app.console.note(f"  {line}")
    still = described["EndpointConfigName"] if described["EndpointStatus"] == "InService" else ""
    raise JobFailed(
        f"endpoint {name} serves {still}, not {wanted}" if still else f"endpoint {name} did not come up",
        described.get("FailureReason", "another deploy came in between" if still else "no reason was given"),
        "the end of its log is above; what this deploy made was removed",
    )


def remove_replaced(client: Any, project: str, endpoint_config: str) -> None:
    """The former endpoint config and its models; only what is this project's, and what nothing uses now."""
    described = resources.find(client, "endpoint-config", endpoint_config)
    if not described or not jobs.belongs(client, described["EndpointConfigArn"], project):
        return
    models = [resources.find(client, "model", variant["ModelName"]) for variant in described["ProductionVariants"]]
    ours = [("model", one["ModelName"]) for one in models if one and jobs.belongs(client, one["ModelArn"], project)]
    remove_unused(client, project, [*ours, ("endpoint-config", endpoint_config)])


def remove_unused(client: Any, project: str, things: Made) -> None:
    """Remove from the last to the first what no other endpoint and no other endpoint config of the project needs."""
    for kind, name in reversed(things):
        if not resources.is_used(client, kind, name, project):
            resources.delete(client, kind, name)
