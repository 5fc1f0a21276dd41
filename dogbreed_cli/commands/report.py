"""dogbreed report: what a training job says about itself, in the terminal and as one offline HTML page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dogbreed_cli import jobs
from dogbreed_cli.requests import TUNING_JOB_TAG
from dogbreed_cli.source import unpack
from dogbreed_cli.storage import fetch, list_objects, parse_s3_uri

if TYPE_CHECKING:
    from dogbreed_cli.context import App
    from dogbreed_cli.report import Rate
    from dogbreed_cli.session import Session


@click.command(
    epilog="""\b
Examples:
  dogbreed report
  dogbreed report --job dogbreed-train-261122-194300 --output reports/today --open"""
)
@click.option("--job", metavar="NAME", help="Training job (default: the latest completed one).")
@click.option("--tuning-job", metavar="NAME", help="Tuning job (default: the one that the training job was made from).")
@click.option("--output", type=click.Path(path_type=Path), default=Path("report"), show_default=True, metavar="DIR")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.pass_obj
def report(app: App, job: str | None, tuning_job: str | None, output: Path, open_page: bool) -> None:
    """Write a page, metrics and tables about a training job.

    report.html is one file that needs no network; beside it stand metrics.json, history.csv, trials.csv, per_class.csv
    and predictions.csv.
    """
    from dogbreed_cli.report import build, summarize, to_json, write

    config = app.config()
    session = app.session(config)
    client = session.client("sagemaker")
    name = job or jobs.latest_training_job(client, config.project.name)
    description = jobs.describe_training_job(client, name)
    tuning_job = tuning_job or jobs.read_tags(client, description["TrainingJobArn"]).get(TUNING_JOB_TAG)
    tuning = jobs.describe_tuning_job(client, tuning_job) if tuning_job else None
    trials = jobs.list_trials(client, tuning_job) if tuning_job else []
    with tempfile.TemporaryDirectory() as scratch:
        fetch_artifacts(app, session.client("s3"), description, Path(scratch))
        rate = find_rate(session, description)
        built = build(Path(scratch) / "data", description, tuning, trials, rate)
        paths = write(built, output)
    page = paths["report.html"].absolute()
    lines = [f"{label + ':':<22}{text}" for label, text in summarize(built)]
    app.console.result({**to_json(built), "page": page}, "\n".join([*lines, f"{'Page:':<22}{page}"]))
    if description["TrainingJobStatus"] == "Completed":
        app.console.note("next: dogbreed deploy")
    if open_page:
        click.launch(page.as_uri())


def find_rate(session: Session, description: dict[str, Any]) -> Rate:
    from dogbreed_cli.pricing import open_prices
    from dogbreed_cli.report import FREE, Rate

    prices = open_prices(session)
    if prices is None:
        return FREE
    price = prices.find(description["ResourceConfig"]["InstanceType"], "Training")
    return Rate(price.usd_per_hour, price.source)


def fetch_artifacts(app: App, s3: Any, description: dict[str, Any], scratch: Path) -> None:
    """Unpack the job's output.tar.gz into scratch/data. A job that left none still gets a report, which says so."""
    root = description["OutputDataConfig"]["S3OutputPath"].rstrip("/")
    uri = f"{root}/{description['TrainingJobName']}/output/output.tar.gz"
    (scratch / "data").mkdir()
    if any(list_objects(s3, *parse_s3_uri(uri))):
        fetch(s3, uri, scratch)
        unpack(scratch / "output.tar.gz", scratch / "data")
    else:
        app.console.warn(f"there is no {uri}: the report has only what SageMaker says of the job")
