"""dogbreed status: what of the project is running now."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import expiry, jobs, resources
from dogbreed_cli.console import human_time, table
from dogbreed_cli.costs import UNCOUNTED
from dogbreed_cli.pricing import PriceList, open_prices
from dogbreed_cli.spending import Spending, measure_endpoint, measure_training, measure_tuning, measure_warm_pool

if TYPE_CHECKING:
    from dogbreed_cli.context import App

MOST = 20
NOTHING = Spending(None, None, None)


@click.command(
    epilog="""\b
Examples:
  dogbreed status
  dogbreed status --all        # with the jobs that ended"""
)
@click.option("--all", "everything", is_flag=True, help=f"The {MOST} latest jobs of each kind, ended or not.")
@click.pass_obj
def status(app: App, everything: bool) -> None:
    """Show the project's running jobs, warm pools and endpoints.

    Empty means that nothing runs: nothing can cost money but what lies in S3.
    """
    config = app.config()
    session = app.session(config)
    client, project = session.client("sagemaker"), config.project.name
    if everything:
        tunings = list(islice(jobs.list_tuning_jobs(client, project), MOST))
        trainings = list(islice(jobs.list_training_jobs(client, project, (jobs.TRAINING, jobs.FEATURES)), MOST))
    else:  # asked for by status: one that runs may be older than any number that ended
        tunings = list(jobs.list_running_tuning_jobs(client, project))
        trainings = list(jobs.list_running_training_jobs(client, project))
    found = [row("tuning job", "HyperParameterTuningJob", job) for job in tunings]
    found += [row(jobs.kind_of(job["TrainingJobName"], project), "TrainingJob", job) for job in trainings]
    found += [row("endpoint", "Endpoint", one) for one in resources.list_all(client, "endpoint", project)]
    if prices := open_prices(session):
        found += [row("warm pool", "TrainingJob", job) for job in jobs.list_warm_pools(client, project)]
    for one in found:
        if one["kind"] == "endpoint":
            one["ends_at"] = expiry.find_end(session, one["name"])
    shown = [[one["kind"], one["name"], one["status"], human_time(one["age_seconds"])] for one in found]
    columns = ["kind", "name", "status", "age"]
    if prices:
        add_costs(app, prices, found)
        columns += ["USD an hour", "USD so far", "price"]
        for cells, one in zip(shown, found, strict=True):
            cells += [show_usd(one["usd_per_hour"], 4), show_usd(one["usd_so_far"], 2), one["price_source"] or "-"]
    if any(one.get("ends_at") for one in found):
        columns.append("ends in")
        for cells, one in zip(shown, found, strict=True):
            cells.append(say_time_left(one.get("ends_at")))
    nothing = f"project {project}: nothing is running"
    app.console.result({"project": project, "items": found}, table(columns, shown) if found else nothing)


def add_costs(app: App, prices: PriceList, found: list[dict[str, Any]]) -> None:
    """Null for what has ended, and for what nobody knows the price of."""
    measures = {
        "tuning job": measure_tuning,
        jobs.TRAINING: measure_training,
        jobs.TRIAL: measure_training,
        jobs.FEATURES: measure_training,
        "warm pool": measure_warm_pool,
        "endpoint": measure_endpoint,
    }
    for one in found:
        runs = one["kind"] in ("endpoint", "warm pool") or one["status"] in jobs.RUNNING
        one |= asdict((measures[one["kind"]](prices, one["name"]) if runs else None) or NOTHING)
    if any(one["price_source"] for one in found):
        app.console.note(f"a tuning job's cost is that of its trials; not counted: {UNCOUNTED}")


def say_time_left(ends_at: datetime | None) -> str:
    return human_time(max(0.0, (ends_at - datetime.now(UTC)).total_seconds())) if ends_at else "-"


def show_usd(usd: float | None, digits: int) -> str:
    return "-" if usd is None else f"{usd:.{digits}f}"


def row(kind: str, member: str, summary: dict[str, Any]) -> dict[str, Any]:
    created = summary["CreationTime"]
    return {
        "kind": kind,
        "name": summary[f"{member}Name"],
        "status": summary[f"{member}Status"],
        "created": created,
        "age_seconds": round((datetime.now(UTC) - created).total_seconds()),
    }
