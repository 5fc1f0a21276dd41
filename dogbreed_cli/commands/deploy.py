"""dogbreed deploy: serve a trained model from an endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, requests, resources
from dogbreed_cli.console import human_time
from dogbreed_cli.errors import DogbreedError, JobFailed, WaitTimedOut
from dogbreed_cli.waiting import detachable

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
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop waiting then; the endpoint goes on (exit 8).")
@click.pass_obj
def deploy(
    app: App, job: str | None, name: str | None, instance_type: str | None, wait: bool, timeout: float | None
) -> None:
    """Serve a trained model from an endpoint.

    Deploying the same job again changes nothing; deploying another job updates the endpoint, which goes on serving the
    old model until the new one answers. What a failed deploy made is removed again.
    """
    config = app.config(deploy={"instance_type": instance_type})
    session = app.session(config)
    client = session.client("sagemaker")
    name = name or requests.endpoint_name(config)
    if not name.startswith(f"{config.project.name}-"):
        raise DogbreedError(f"the name {name} is not found again", fix=f"begin it with {config.project.name}-")
    job = job or jobs.latest_training_job(client, config.project.name)
    description = jobs.describe_training_job(client, job)
    jobs.require_completed("training job", job, description["TrainingJobStatus"], description.get("FailureReason"))
    site = requests.Site(session.bucket, session.role_arn, session.inference_image())
    model = requests.model(config, site, job, description["ModelArtifacts"]["S3ModelArtifacts"])
    endpoint_config = requests.endpoint_config(config, job)
    session.prepare()
    before = resources.find(client, "endpoint", name)
    if before and before["EndpointStatus"] == "Failed":
        app.console.note(f"endpoint {name} had failed ({before.get('FailureReason', 'no reason')}): making it anew")
        resources.delete(client, "endpoint", name, session.poll_seconds)
        before = None
    elif before and before["EndpointStatus"] not in ("InService", "Creating"):
        raise DogbreedError(f"endpoint {name} is {before['EndpointStatus']}", fix="wait, then run the command again")

    wanted = endpoint_config["EndpointConfigName"]
    with detachable(f"dogbreed deploy --job {job}"), removed_on_failure(client) as made:
        if before and before["EndpointConfigName"] == wanted:
            app.console.note(f"endpoint {name} has {job} already")
        else:
            made += create_missing(client, model, endpoint_config)
            place = session.describe_place(config.deploy.instance_type)
            if before:
                app.console.note(f"updating endpoint {name} on {place} to {job}")
                client.update_endpoint(EndpointName=name, EndpointConfigName=wanted)
            else:
                app.console.note(f"creating endpoint {name} on {place} from {job}")
                client.create_endpoint(**requests.endpoint(config, name, wanted))
                made.append(("endpoint", name))
        described = follow(app, session, name, wait, timeout)
        if wait:
            require_served(app, session, described, wanted)
    if wait and before and before["EndpointConfigName"] != wanted:
        remove_replaced(client, config, before["EndpointConfigName"])
    data = {"endpoint": name, "status": described["EndpointStatus"], "training_job": job, "endpoint_config": wanted}
    app.console.result(data, f"{name} is {described['EndpointStatus']} with {job}")
    app.console.note("next: dogbreed predict IMAGE; dogbreed teardown ends it")


Made = list[tuple[str, str]]


@contextmanager
def removed_on_failure(client: Any) -> Iterator[Made]:
    """Yields a list for (kind, name) of what was created; all of it is removed again when the deploy fails."""
    made: Made = []
    try:
        yield made
    except WaitTimedOut:
        raise  # It goes on; nothing has failed.
    except Exception:
        for kind, name in reversed(made):
            resources.delete(client, kind, name)
        raise


def create_missing(client: Any, model: dict[str, Any], endpoint_config: dict[str, Any]) -> Made:
    """Create the model and the endpoint config unless they are there. Both are named by what they hold."""
    made: Made = []
    if not resources.find(client, "model", model["ModelName"]):
        client.create_model(**model)
        made.append(("model", model["ModelName"]))
    if not resources.find(client, "endpoint-config", endpoint_config["EndpointConfigName"]):
        try:
            client.create_endpoint_config(**endpoint_config)
        except Exception:
            for kind, name in made:
                resources.delete(client, kind, name)
            raise
        made.append(("endpoint-config", endpoint_config["EndpointConfigName"]))
    return made


def follow(app: App, session: Session, name: str, wait: bool, timeout: float | None) -> dict[str, Any]:
    """Stages until the endpoint moves no more."""
    client, started, told = session.client("sagemaker"), time.monotonic(), ""
    while True:
        described = client.describe_endpoint(EndpointName=name)
        if described["EndpointStatus"] != told:
            told = described["EndpointStatus"]
            app.console.note(f"[{human_time(time.monotonic() - started)}] {told}")
        if not wait or told not in ("Creating", "Updating", "RollingBack", "SystemUpdating"):
            return described
        if timeout and time.monotonic() - started > timeout:
            raise WaitTimedOut(f"endpoint {name} is still {told} after {timeout:g} s", "it goes on")
        time.sleep(session.poll_seconds)


def require_served(app: App, session: Session, described: dict[str, Any], wanted: str) -> None:
    """Raises JobFailed unless the endpoint is InService with the wanted config. Its log's end is shown first."""
    name = described["EndpointName"]
    if described["EndpointStatus"] == "InService" and described["EndpointConfigName"] == wanted:
        return
    lines = list(jobs.read_log(session.client("logs"), "", {}, f"/aws/sagemaker/Endpoints/{name}"))
    for line in lines[-20:]:
        app.console.note(f"  {line}")
    rolled_back = described["EndpointStatus"] == "InService"
    raise JobFailed(
        f"endpoint {name} did not come up" + (", and serves the former model still" if rolled_back else ""),
        described.get("FailureReason", "no reason was given"),
        "the end of its log is above; what this deploy made was removed",
    )


def remove_replaced(client: Any, config: Config, endpoint_config: str) -> None:
    """The former endpoint config and its model, which nothing uses now; only if they are this project's."""
    described = resources.find(client, "endpoint-config", endpoint_config)
    if not described or not jobs.belongs(client, described["EndpointConfigArn"], config.project.name):
        return
    resources.delete(client, "endpoint-config", endpoint_config)
    for variant in described["ProductionVariants"]:
        resources.delete(client, "model", variant["ModelName"])
