"""dogbreed status: what of the project is running now."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs, resources
from dogbreed_cli.console import human_time, table

if TYPE_CHECKING:
    from dogbreed_cli.context import App

MOST = 20


@click.command(
    epilog="""\b
Examples:
  dogbreed status
  dogbreed status --all        # with the jobs that ended"""
)
@click.option("--all", "everything", is_flag=True, help=f"The {MOST} latest jobs of each kind, ended or not.")
@click.pass_obj
def status(app: App, everything: bool) -> None:
    """Show the project's running jobs and its endpoints.

    Empty means that nothing runs: nothing can cost money but what lies in S3.
    """
    config = app.config()
    session = app.session(config)
    client, project = session.client("sagemaker"), config.project.name
    if everything:
        tunings = list(islice(jobs.list_tuning_jobs(client, project), MOST))
        trainings = list(islice(jobs.list_training_jobs(client, project), MOST))
    else:  # asked for by status: one that runs may be older than any number that ended
        tunings = list(jobs.list_running_tuning_jobs(client, project))
        trainings = list(jobs.list_running_training_jobs(client, project))
    found = [row("tuning job", "HyperParameterTuningJob", job) for job in tunings]
    found += [row("training job", "TrainingJob", job) for job in trainings]
    found += [row("endpoint", "Endpoint", one) for one in resources.list_all(client, "endpoint", project)]
    columns = ["kind", "name", "status", "age"]
    drawn = table(columns, [[*(one[c] for c in columns[:3]), human_time(one["age_seconds"])] for one in found])
    nothing = f"project {project}: nothing is running"
    app.console.result({"project": project, "items": found}, drawn if found else nothing)


def row(kind: str, member: str, summary: dict[str, Any]) -> dict[str, Any]:
    created = summary["CreationTime"]
    return {
        "kind": kind,
        "name": summary[f"{member}Name"],
        "status": summary[f"{member}Status"],
        "created": created,
        "age_seconds": round((datetime.now(UTC) - created).total_seconds()),
    }
