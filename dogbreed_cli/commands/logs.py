"""dogbreed logs: what a job or an endpoint has printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, resources
from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.requests import endpoint_name

if TYPE_CHECKING:
    from dogbreed_cli.context import App


@click.command(
    epilog="""\b
Examples:
  dogbreed logs                                  # the latest training job
  dogbreed logs dogbreed-train-261122-194300 -f
  dogbreed logs dogbreed-endpoint"""
)
@click.argument("name", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.pass_obj
def logs(app: App, name: str | None, follow: bool) -> None:
    """Print the log of a training job, a trial or an endpoint."""
    config = app.config()
    session = app.session(config)
    client = session.client("sagemaker")
    if name is None:
        newest = next(jobs.list_training_jobs(client, config.project.name), None)
        if newest is None:
            raise DogbreedError(f"project {config.project.name} has no training job", fix="name a job or an endpoint")
        name = newest["TrainingJobName"]
    is_endpoint = name == endpoint_name(config) or resources.find(client, "endpoint", name) is not None
    group, prefix = (f"/aws/sagemaker/Endpoints/{name}", "") if is_endpoint else (jobs.TRAINING_LOGS, f"{name}/")
    if not is_endpoint:
        jobs.describe_training_job(client, name)
    positions: dict[str, str] = {}
    lines = []
    while True:
        ended = not follow or has_ended(client, name, is_endpoint)  # asked first, so that the last lines are read
        for line in jobs.read_log(session.client("logs"), prefix, positions, group):
            lines.append(line)
            app.console.stream(line)
        if ended:
            break
        time.sleep(session.poll_seconds)
    app.console.result({"name": name, "lines": lines})


def has_ended(client: Any, name: str, is_endpoint: bool) -> bool:
    if is_endpoint:
        found = resources.find(client, "endpoint", name)
        return found is None or found["EndpointStatus"] == "Failed"
    return jobs.describe_training_job(client, name)["TrainingJobStatus"] in jobs.ENDED
