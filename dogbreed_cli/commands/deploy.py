"""dogbreed deploy: serve a trained model from an endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import endpoint_requests, jobs, requests, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.costs import as_member, check_budget, price_endpoint, say_cost
from dogbreed_cli.errors import DogbreedError, Interrupted, WaitTimedOut
from dogbreed_cli.masking import hide_secrets
from dogbreed_cli.options import Limit
from dogbreed_cli.pricing import open_prices
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
  dogbreed deploy --instance-type ml.g4dn.xlarge --no-wait
  dogbreed deploy --serverless --memory 2048"""
)
@click.option("--job", metavar="NAME", help="Training job (default: the latest completed one, never a trial).")
@click.option("--name", help="The endpoint's name (default: PROJECT-endpoint).")
@click.option("--instance-type", help="For example ml.m5.large; of no effect on this machine.")
@click.option("--serverless/--no-serverless", default=None, help="No instance: billed by use, with a cold start.")
@click.option("--memory", type=int, metavar="MB", help="Of a serverless endpoint.")
@click.option("--wait/--no-wait", default=True, help="Wait until it answers (default), or return at once.")
@click.option("--timeout", type=Limit(min=0), metavar="SECONDS", help="Stop waiting; the endpoint goes on (exit 8).")
@click.option("--budget", type=Limit(min=0), metavar="USD", help="Refuse what costs more a day (exit 7).")
@click.option("--dry-run", is_flag=True, help="Print the requests and create nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before something starts that AWS charges for.")
@click.pass_obj
def deploy(
    app: App,
    job: str | None,
    name: str | None,
    wait: bool,
    timeout: float | None,
    budget: float | None,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Serve a trained model from an endpoint.

    Deploying the same job again changes nothing; deploying another job updates the endpoint, which goes on serving the
    old model until the new one answers. What a failed deploy made is removed again.
    """
    config = app.config(deploy=options)
    typed = list(as_words(name=name, **options))
    name = name or requests.endpoint_name(config)
    jobs.check_name(name, config.project.name)
    session = app.session(config)
    client = session.client("sagemaker")
    job = job or jobs.latest_training_job(client, config.project.name)
    again = command_line("deploy", "--job", job, *typed)
    description = jobs.describe_training_job(client, job)
    jobs.require_completed("training job", job, description["TrainingJobStatus"], description.get("FailureReason"))
    wanted = build(config, session.inference_site(), job, name, description["ModelArtifacts"]["S3ModelArtifacts"])
    cost = price_endpoint(open_prices(session), wanted.endpoint_config)
    check_budget(cost, budget)
    if dry_run:
        shown = [hide_secrets(request) for request in (wanted.model, wanted.endpoint_config, wanted.endpoint)]
        app.console.write_json({"dry_run": shown, **as_member(cost)})
        return
    session.prepare()
    with detachable(again):
        before = settle(app, session, config, wanted, wait, timeout)
    if before and before["EndpointStatus"] != "Failed" and resources.coming_config(before) == wanted.config_name:
        app.console.note(f"endpoint {name} has {job} already")
        described = before
    else:
        if before and before["EndpointStatus"] != "Failed" and config.deploy.serverless:
            require_serverless(client, before)
        deploy_config = config.deploy
        place = session.describe_place("serverless" if deploy_config.serverless else deploy_config.instance_type)
        app.console.note(f"endpoint {name} on {place} with {job}: it runs until `dogbreed teardown`")
        if cost:
            app.console.note(say_cost(cost))
        session.confirm_charge(yes)
        described = bring_up(app, session, config, wanted, before, again, wait, timeout)
    data = {
        "endpoint": name,
        "status": described["EndpointStatus"],
        "training_job": job,
        "endpoint_config": wanted.config_name,
        **as_member(cost),
    }
    app.console.result(data, f"{name} is {described['EndpointStatus']} with {job}")
    asked = "" if name == requests.endpoint_name(config) else f" --endpoint {name}"
    app.console.note(f"next: dogbreed predict IMAGE{asked}; dogbreed teardown ends it")


def as_words(**options: Any) -> Iterator[str]:
    """The options that were given, as they are typed."""
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        elif value is not None:
            yield from (option, str(value))


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


def build(config: Config, site: requests.Site, job: str, name: str, artifact: str) -> Wanted:
    model = endpoint_requests.model(config, site, job, artifact)
    endpoint_config = endpoint_requests.endpoint_config(config, site, job, model["ModelName"])
    return Wanted(
        model, endpoint_config, endpoint_requests.endpoint(config, name, endpoint_config["EndpointConfigName"])
    )


def bring_up(
    app: App,
    session: Session,
    config: Config,
    wanted: Wanted,
    before: dict[str, Any] | None,
    again: str,
    wait: bool,
    timeout: float | None,
) -> dict[str, Any]:
    """Create what is missing, then create the endpoint, or update the one `before` in place. Its description."""
    client, project = session.client("sagemaker"), config.project.name
    if before and before["EndpointStatus"] == "Failed":
        app.console.note(f"endpoint {wanted.name} had failed ({before.get('FailureReason', '')}): making it anew")
        resources.delete(client, "endpoint", wanted.name, session.poll_seconds)
        before = None
    with removed_on_failure(client, project) as made:
        create_missing(session, "model", wanted.model, made)
        create_missing(session, "endpoint-config", wanted.endpoint_config, made)
        if before:
            app.console.note("updating it in place: the old model serves until the new one answers")
            resources.update_endpoint(client, wanted.name, wanted.config_name)
        else:
            create_missing(session, "endpoint", wanted.endpoint, made)
        with detachable(again):
            described = require_there(wanted.name, follow(app, session, wanted.name, wait, timeout))
        if wait:
            require_served(app, session, described, wanted.config_name)
    if wait and before:
        remove_replaced(client, project, before["EndpointConfigName"])
    return described


def settle(
    app: App, session: Session, config: Config, wanted: Wanted, wait: bool, timeout: float | None
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
        found = follow(app, session, name, wait, timeout)
    return found


def require_serverless(client: Any, before: dict[str, Any]) -> None:
    """Raises DogbreedError for an endpoint on instances, which AWS does not make serverless in place."""
    served = resources.find(client, "endpoint-config", before["EndpointConfigName"])
    if served and "ServerlessConfig" not in served["ProductionVariants"][0]:
        name = before["EndpointName"]
        fix = "choose another --name, or run `dogbreed teardown` first"
        raise DogbreedError(f"endpoint {name} runs on instances", "AWS cannot make it serverless in place", fix)


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
    reason = described.get("FailureReason", "another deploy came in between" if still else "no reason was given")
    what = f"endpoint {name} serves {still}, not {wanted}" if still else f"endpoint {name} did not come up"
    raise jobs.failed(what, reason, "the end of its log is above; what this deploy made was removed")


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
