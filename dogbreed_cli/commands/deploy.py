"""dogbreed deploy: serve a trained model from an endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import autoscaling, endpoint_requests, expiry, jobs, requests, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.costs import as_member, check_budget, price_endpoint, say_cost
from dogbreed_cli.deployment import Terms, Wanted, bring_up, build, settle, try_out
from dogbreed_cli.errors import DogbreedError, UsageError
from dogbreed_cli.masking import hide_secrets
from dogbreed_cli.names import complete_names
from dogbreed_cli.options import NEVER, Duration, Limit, write_duration
from dogbreed_cli.pictures import Picture, open_path
from dogbreed_cli.pricing import open_prices
from dogbreed_cli.waiting import Patience, command_line, detachable

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App
    from dogbreed_cli.session import Session


@click.command(
    epilog="""\b
Examples:
  dogbreed deploy                              # the latest training job
  dogbreed deploy --job dogbreed-train-261122-194300       # updates what runs
  dogbreed deploy --expires 2h --test dog.jpg  # tried out; ends itself
  dogbreed deploy --instance-type ml.g4dn.xlarge --no-wait
  dogbreed deploy --serverless --memory 2048
  dogbreed --set deploy.max_instances=4 deploy # as many as needed (on AWS)"""
)
@click.option(
    "--job",
    metavar="NAME",
    shell_complete=complete_names("training job"),
    help="Training job (default: the latest completed one, never a trial).",
)
@click.option(
    "--name", shell_complete=complete_names("endpoint"), help="The endpoint's name (default: PROJECT-endpoint)."
)
@click.option("--instance-type", help="For example ml.m5.large; of no effect on this machine.")
@click.option("--serverless/--no-serverless", default=None, help="No instance: billed by use, with a cold start.")
@click.option("--memory", type=int, metavar="MB", help="Of a serverless endpoint.")
@click.option(
    "--expires",
    type=Duration(),
    metavar="TIME",
    help="The endpoint ends itself after 90m, 2h, 1d (or never), whatever this machine does.",
)
@click.option(
    "--test",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="IMAGE",
    help="Ready only if it classifies this picture; else the deploy has failed.",
)
@click.option("--update/--no-update", default=True, help="Give an endpoint that is there the new model (default).")
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
    expires: timedelta | None,
    test: Path | None,
    update: bool,
    wait: bool,
    timeout: float | None,
    budget: float | None,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Serve a trained model from an endpoint.

    Deploying the same job again changes nothing; deploying another job updates the endpoint, which goes on serving the
    old model until the new one answers, and after all if it does not. What a failed deploy made is removed again.
    """
    config = app.config(deploy=options)
    typed = list(as_words(name=name, test=test, update=None if update else False, **options))
    name = name or requests.endpoint_name(config)
    jobs.check_name(name, config.project.name)
    picture, patience = read_picture(test, wait) if test else None, Patience(timeout)
    session = app.session(config)
    client = session.client("sagemaker")
    job = job or jobs.latest_training_job(client, config.project.name)
    whole = command_line("deploy", "--job", job, *typed, *as_words(expires=expires))
    description = jobs.describe_training_job(client, job)
    jobs.require_completed("training job", job, description["TrainingJobStatus"], description.get("FailureReason"))
    wanted = build(config, session.inference_site(), job, name, description["ModelArtifacts"]["S3ModelArtifacts"])
    ends_at = datetime.now(UTC) + expires if expires else None
    cost = price_endpoint(open_prices(session), endpoint_requests.at_most(config, wanted.endpoint_config))
    check_budget(cost, budget)
    if dry_run:
        shown = [hide_secrets(request) for request in list_requests(config, session, wanted, ends_at)]
        app.console.write_json({"dry_run": shown, **as_member(cost)})
        return
    if ends_at:
        _ = session.expiry_role_arn  # before anything is made
    session.prepare()
    with detachable(whole):
        before = settle(app, session, config, wanted, wait, patience)
    if before and before["EndpointStatus"] != "Failed" and resources.coming_config(before) == wanted.config_name:
        app.console.note(f"endpoint {name} has {job} already")
        described = before
        confirm_growth(app, session, config, name, cost, yes)
        if wait:
            try_out(app, session, name, picture)
        if ends_at:
            expiry.set_end(session, name, ends_at)
    else:
        if before and before["EndpointStatus"] != "Failed":
            check_update(client, config, before, update)
        place = session.describe_place("serverless" if config.deploy.serverless else config.deploy.instance_type)
        kept = expiry.find_end(session, name) if before and expires is None else None
        app.console.note(f"endpoint {name} on {place} with {job}: {say_life(expires, kept)}")
        if cost:
            app.console.note(say_cost(cost))
        session.confirm_charge(yes)
        # By the time that this is followed again its end has been set, and is not to move.
        again = command_line("deploy", "--job", job, *typed) if ends_at else whole
        described = bring_up(app, session, config, wanted, before, Terms(again, wait, patience, ends_at, picture))
    scale(app, session, config, described)
    if expires == NEVER:  # without --expires an endpoint keeps the end that it has
        expiry.remove_end(session, name)
    ends_at = expiry.find_end(session, name)
    data = {
        "endpoint": name,
        "status": described["EndpointStatus"],
        "training_job": job,
        "endpoint_config": wanted.config_name,
        "ends_at": ends_at,
        **as_member(cost),
    }
    app.console.result(data, f"{name} is {described['EndpointStatus']} with {job}")
    asked = "" if name == requests.endpoint_name(config) else f" --endpoint {name}"
    ends = f"{say_end(ends_at)}; dogbreed teardown ends it before" if ends_at else "dogbreed teardown ends it"
    app.console.note(f"next: dogbreed predict IMAGE{asked}; {ends}")


def as_words(**options: Any) -> Iterator[str]:
    """The options that were given, as they are typed."""
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            yield option if value else f"--no-{option[2:]}"
        elif isinstance(value, timedelta):
            yield from (option, write_duration(value))
        elif value is not None:
            yield from (option, str(value))


def read_picture(path: Path, wait: bool) -> Picture:
    """Raises UsageError for one that cannot be sent: that is no fault of the endpoint's."""
    if not wait:
        raise UsageError("--test needs an endpoint that answers", "--no-wait returns before it", "leave one out")
    try:
        (picture,) = open_path(path)
        data, _ = picture.read()
    except DogbreedError as error:
        raise UsageError(f"--test {path}: {error}", fix="name a JPEG, PNG or WebP image") from None
    return Picture(picture.name, lambda: data)


def list_requests(config: Config, session: Session, wanted: Wanted, ends_at: datetime | None) -> list[dict[str, Any]]:
    """All that would be sent, in its order."""
    sent = [wanted.model, wanted.endpoint_config, wanted.endpoint]
    if ends_at:
        sent.insert(2, endpoint_requests.end(session.expiry_role_arn, wanted.name, ends_at))
    if config.deploy.max_instances and session.scales:
        sent += [
            endpoint_requests.scaling_target(config, wanted.name),
            endpoint_requests.scaling_policy(config, wanted.name),
        ]
    return sent


def check_update(client: Any, config: Config, before: dict[str, Any], update: bool) -> None:
    """Raises DogbreedError for one that is not wanted, and for an endpoint on instances that is to be serverless."""
    name, config_name = before["EndpointName"], before["EndpointConfigName"]
    if not update:
        raise DogbreedError(f"endpoint {name} serves {config_name}", "--no-update leaves it alone",
                            "choose another --name, or leave out --no-update")  # fmt: skip
    served = resources.find(client, "endpoint-config", config_name) if config.deploy.serverless else None
    if served and "ServerlessConfig" not in served["ProductionVariants"][0]:
        fix = "choose another --name, or run `dogbreed teardown` first"
        raise DogbreedError(f"endpoint {name} runs on instances", "AWS cannot make it serverless in place", fix)


def confirm_growth(app: App, session: Session, config: Config, name: str, cost: Any, yes: bool) -> None:
    """Asks where an endpoint that is there already may come to have more instances than before."""
    if not config.deploy.max_instances or not session.scales:
        return
    scaling = autoscaling.find_scaling(session, name)
    if not scaling or scaling.most < config.deploy.max_instances:
        if cost:
            app.console.note(say_cost(cost))
        session.confirm_charge(yes)


def scale(app: App, session: Session, config: Config, described: dict[str, Any]) -> None:
    """By deploy.max_instances, once it is in service: AWS takes no endpoint before."""
    if not config.deploy.max_instances:
        autoscaling.stop_scaling(session, described["EndpointName"])
    elif not session.scales:
        app.console.note("deploy.max_instances: this machine has one instance")
    elif described["EndpointStatus"] == "InService":
        name = described["EndpointName"]
        limits = endpoint_requests.scaling_target(config, name)
        autoscaling.start_scaling(session, autoscaling.Scaling(limits, endpoint_requests.scaling_policy(config, name)))
        app.console.note(f"{config.deploy.instance_count} to {config.deploy.max_instances} instances, by its requests")
    else:
        app.console.note("deploy.max_instances: it does not scale yet; run this again when it is in service")


def say_life(expires: timedelta | None, kept: datetime | None) -> str:
    """`kept` is the end that an endpoint has already, and keeps."""
    if expires:
        return f"it runs for {human_time(expires.total_seconds())}"
    return say_end(kept) if kept else "it runs until `dogbreed teardown`"


def say_end(at: datetime) -> str:
    return f"it ends itself at {at.astimezone():%Y-%m-%d %H:%M}"
