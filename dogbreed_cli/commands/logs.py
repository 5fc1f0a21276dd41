"""dogbreed logs: what a job or an endpoint has printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, resources
from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.names import complete_names
from dogbreed_cli.requests import endpoint_name

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.context import App


@click.command(
    epilog="""\b
Examples:
  dogbreed logs                                  # the latest training job
  dogbreed logs dogbreed-train-261122-194300 -f
  dogbreed logs dogbreed-tune-261122-194300      # all its trials
  dogbreed logs dogbreed-endpoint"""
)
@click.argument("name", required=False, shell_complete=complete_names("training job", "endpoint", "tuning job"))
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
            raise DogbreedError(
                f"project {config.project.name} has no training job",
                fix="run `dogbreed train`, or name a job or an endpoint",
            )
        name = newest["TrainingJobName"]
    group, prefix, has_ended = locate(client, config, name)
    positions: dict[str, str] = {}
    lines = []
    while True:
        ended = not follow or has_ended()  # asked first, so that the last lines are read
        for line in jobs.read_log(session.client("logs"), prefix, positions, group):
            lines.append(line)
            app.console.stream(line)
        if ended:
            break
        time.sleep(session.poll_seconds)
    if not lines:
        app.console.note(f"{name} has said nothing")
    app.console.result({"name": name, "lines": lines})


def locate(client: Any, config: Config, name: str) -> tuple[str, str, Callable[[], bool]]:
    """The log group, what its streams' names begin with, and a question: will nothing more be said?"""

    def endpoint_ended() -> bool:
        found = resources.find(client, "endpoint", name)
        return found is None or found["EndpointStatus"] == "Failed"

    def training_ended() -> bool:
        return jobs.describe_training_job(client, name)["TrainingJobStatus"] in jobs.ENDED

    def tuning_ended() -> bool:
        return jobs.describe_tuning_job(client, name)["HyperParameterTuningJobStatus"] in jobs.ENDED

    # The project's endpoint may be gone; its log is not.
    if name == endpoint_name(config) or resources.find(client, "endpoint", name):
        return jobs.endpoint_logs(name), "", endpoint_ended
    for ended, prefix in ((training_ended, f"{name}/"), (tuning_ended, f"{name}-")):
        with suppress(NotFound):
            ended()
            return jobs.TRAINING_LOGS, prefix, ended
    raise DogbreedError(f"no job or endpoint {name}", fix="see `dogbreed status --all`")
